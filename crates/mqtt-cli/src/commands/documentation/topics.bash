
# Completes profiles, and topics from the retained messages of the broker that the command line names.
_PROGRAM_topics() {
    local word cur="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" index broker=()
    # bash takes '@' as a word of its own and replaces only the word after it, unless COMP_WORDBREAKS lacks '@'.
    if [[ $before == @ || $cur == @ ]]; then
        COMPREPLY=($(compgen -W "$(PROGRAM profiles 2>/dev/null | tr -d @)" -- "${cur#@}"))
        return
    elif [[ $cur == @* ]]; then
        COMPREPLY=($(compgen -W "$(PROGRAM profiles 2>/dev/null)" -- "$cur"))
        return
    fi
    case "$before" in
        -t|--topic|-T|--filter-out|-e) ;;
        *) _PROGRAM "$@"; return ;;
    esac
    for ((index = 1; index < COMP_CWORD - 1; index++)); do
        word="${COMP_WORDS[index]}"
        case "$word" in
            -h|--host|-p|--port|-u|--username|-P|--pw|--password-file|--password-command|--password-credential|--cafile|--capath|--cert|--key|--unix|-V|-o)
                broker+=("$word" "${COMP_WORDS[index + 1]}"); ((index++)) ;;
            @) broker+=("@${COMP_WORDS[index + 1]}"); ((index++)) ;;
            --insecure|--tls-use-os-certs|@*) broker+=("$word") ;;
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
