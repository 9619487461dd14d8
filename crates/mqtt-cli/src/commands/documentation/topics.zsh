# Completes profiles, and topics from the retained messages of the broker that the command line names.
functions[_PROGRAM_options]=$functions[_PROGRAM]
_PROGRAM() {
    case "$words[CURRENT-1]" in
        -t|--topic|-T|--filter-out|-e) ;;
        *)
            if [[ $PREFIX == @* ]]; then
                compadd -- ${(f)"$(PROGRAM profiles 2>/dev/null)"}
                return
            fi
            _PROGRAM_options "$@"; return ;;
    esac
    local index word
    local -a broker topics
    for ((index = 2; index < CURRENT - 1; index++)); do
        word="$words[index]"
        case "$word" in
            -h|--host|-p|--port|-u|--username|-P|--pw|--password-file|--password-credential|--password-command|--cafile|--capath|--cert|--key|--unix|-V|-o)
                broker+=("$word" "${(Q)words[index + 1]}"); ((index++)) ;;
            --insecure|--tls-use-os-certs|@*) broker+=("$word") ;;
        esac
    done
    # A slow or absent broker must not delay the prompt: rsub gets 0.3 s and prints no error.
    topics=("${(@f)$(rsub "${broker[@]}" -t '#' --retained-only -F %t -C 1000 -W 0.3 2>/dev/null)}")
    compadd -- "${(@)topics:#}"
}
