# On a terminal: colour, progress, and no binary. script(1) makes one.
. "$LIB"

script -qec true /dev/null >/dev/null 2>&1 || skip "no script(1) that takes -c"
f32 1 2 3 4 | npy w.npy '<f4' '(1, 4)'
escape=$(printf '\033')

# Runs a shell command on a terminal; all that it shows is in .stdout.
on_terminal()
{
    ran="(terminal) $*"
    script -qec "$*" /dev/null >.stdout 2>.stderr
    echo $? >.status
}

# colour
on_terminal "'$S24' stats w.npy"
expect_status 0
expect_stdout_has "${escape}["
on_terminal "'$S24' stats missing"
expect_status 4
expect_stdout_has "${escape}["
for setting in NO_COLOR=1 TERM=dumb TERM=; do
    on_terminal "$setting '$S24' stats w.npy; $setting '$S24' stats missing"
    expect_stdout_lacks "${escape}["
done
on_terminal "NO_COLOR= '$S24' stats w.npy"
expect_stdout_has "${escape}["
on_terminal "'$S24' stats w.npy --color=never"
expect_stdout_lacks "${escape}["
on_terminal "NO_COLOR=1 '$S24' stats w.npy --color=always"
expect_stdout_has "${escape}["
run stats w.npy
expect_stdout_lacks "${escape}["
run stats w.npy --color=always
expect_stdout_has "${escape}["
NO_COLOR=1
export NO_COLOR
run stats w.npy --color=always
expect_stdout_has "${escape}["
unset NO_COLOR

# binary is not written to a terminal, nor read from one
on_terminal "'$S24' prune w.npy -o -"
expect_status 2
expect_stdout_has 'is a terminal'
on_terminal "'$S24' prune - <w.npy"
expect_status 2
expect_stdout_has 'is a terminal'
on_terminal "'$S24' prune - -o x.s24"
expect_status 2
expect_stdout_has 'is a terminal'
expect_no_file x.s24

# progress: after a second, wiped away at the end; a FIFO makes the run last
mkfifo in || skip "no FIFOs"
noise 4194304 >data
slowly="(head -c 1048576 data; sleep 1.5; tail -c +1048577 data) >in"
prune="'$S24' prune in --from raw --raw-dtype f32 --shape 1024,1024 -f -o out.s24"
on_terminal "$slowly & $prune; wait"
expect_status 0
expect_stdout_has ' left'
expect_stdout_has "$(printf '\r')${escape}[K" # wiped away
expect_file out.s24
on_terminal "$slowly & $prune --progress=never; wait"
expect_status 0
expect_stdout_lacks ' left'
on_terminal "$slowly & $prune -q; wait"
expect_stdout_lacks ' left'
on_terminal "$slowly & TERM=dumb $prune; wait"
expect_stdout_lacks ' left'
on_terminal "'$S24' prune w.npy -f"
expect_stdout_lacks ' left'
sh -c "$slowly" &
run prune in --from raw --raw-dtype f32 --shape 1024,1024 -f -o out.s24
wait
expect_status 0
expect_stderr_lacks ' left'
