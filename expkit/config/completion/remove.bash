complete -r expkit python python3 2> /dev/null
[[ -z "$_expkit_before" ]] || complete -o default -F "$_expkit_before" python python3
unset -f _expkit_complete
unset _expkit_before
