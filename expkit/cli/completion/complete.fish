# Completes `expkit`, `python -m expkit` and `python -m expkit.run` on TAB: expkit -sc install=fish | source
function _expkit_runner
    set -l words (commandline -opc)
    set words[1] (string replace -r '^~' $HOME -- "$words[1]")
    if string match -qr '(^|/)expkit$' -- $words[1]
        echo $words[1]
    else if test (count $words) -ge 3; and test "$words[2]" = -m; and string match -qr '^expkit(\.run)?$' -- $words[3]
        printf '%s\n' $words[1..3]
    else
        return 1
    end
end
function _expkit_complete
    set -l runner (_expkit_runner)
    set -lx COMP_LINE (commandline -cp)
    set -lx COMP_POINT (string length -- "$COMP_LINE")
    set -l found ($runner -sc query=fish 2> /dev/null | string match -r '.+')
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c expkit -f -a '(_expkit_complete)'
complete -c python -n '_expkit_runner > /dev/null' -f -a '(_expkit_complete)'
complete -c python3 -n '_expkit_runner > /dev/null' -f -a '(_expkit_complete)'
