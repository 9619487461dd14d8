
# Completes topics from the retained messages of the broker that the command line names.
_PROGRAM_topics() {
    local word cur="${COMP_WORDS[COMP_CWORD]}" index broker=()
    case "${COMP_WORDS[COMP_CWORD-1]}" in
        -t|--topic|-T|--filter-out|-e) ;;
        *) _PROGRAM "$@"; return ;;
    esac
    for ((index = 1; index < COMP_CWORD - 1; index++)); do
        word="${COMP_WORDS[index]}"
        case "$word" in
            -h|--host|-p|--port|-u|--username|-P|--pw|--password-file|--cafile|--capath|--cert|--key|--unix|-V|-o)
                broker+=("$word" "${COMP_WORDS[index + 1]}"); ((index++)) ;;
            --insecure|--tls-use-os-certs) broker+=("$word") ;;
        esac
    done
    local IFS=$'\n'
    # A slow or absent broker must not delay the prompt: rsub gets 0.3 s and prints no error.
    local topics=($(rsub "${broker[@]}" -t '#' --retained-only -F %t -C 1000 -W 0.3 2>/dev/null))
    COMPREPLY=()
    for word in "${topics[@]}"; do
        # A topic is inserted as one word, so its special characters are quoted.
        [[ $word == "$cur"* ]] && COMPREPLY+=("$(printf %q "$word")")
    done
}
complete -F _PROGRAM_topics -o nosort -o bashdefault -o default PROGRAM
