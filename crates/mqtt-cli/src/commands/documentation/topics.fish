
# Completes topics from the retained messages of the broker that the command line names.
function __PROGRAM_topics
    set -l broker
    set -l words (commandline -opc)
    set -l index 2
    while test $index -lt (count $words)
        switch $words[$index]
            case -h --host -p --port -u --username -P --pw --password-file --password-credential --password-command --cafile --capath --cert --key --unix -V -o
                set -a broker $words[$index] $words[(math $index + 1)]
                set index (math $index + 1)
            case --insecure --tls-use-os-certs '@*'
                set -a broker $words[$index]
        end
        set index (math $index + 1)
    end
    # A slow or absent broker must not delay the prompt: rsub gets 0.3 s and prints no error.
    rsub $broker -t '#' --retained-only -F %t -C 1000 -W 0.3 2>/dev/null
end
complete -c PROGRAM -s t -l topic -x -a '(__PROGRAM_topics)'

# Completes the names of profiles.
complete -c PROGRAM -n 'string match -q "@*" -- (commandline -ct)' -x -a '(PROGRAM profiles 2>/dev/null)'
