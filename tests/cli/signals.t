# SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGXCPU end a run with 128+n, and leave nothing behind.
. "$LIB"

mkfifo in || skip "no FIFOs"
noise 4096 >data

# Whether the run has begun to write: its temporary file is there.
begun()
{
    [ -n "$(find out -type f)" ]
}

# $1: signal, $2: its number
stop_prune()
{
    mkdir out
    start prune in --from raw --raw-dtype f32 --shape 1024,1024 -o out/w.s24
    exec 3>in
    cat data >&3
    until_true begun
    kill -s "$1" "$pid"
    finish
    exec 3>&-
    expect_status $((128 + $2))
    expect_no_stdout
    expect_no_stderr
    expect_only out
    rmdir out
}
ulimit -c 0 # the last two would write one
stop_prune INT 2
stop_prune TERM 15
stop_prune HUP 1
stop_prune QUIT 3
stop_prune XCPU 24

# before anything was read: the FIFO has no writer yet
mkdir out
start prune in --from raw --raw-dtype f32 --shape 1024,1024 -o out/w.s24
sleep 0.5
kill -s INT "$pid"
finish
expect_status 130
expect_no_stderr
expect_only out

# a file beyond the limit of the shell that began the run: an error like a full disk
(
    ulimit -f 1 || exit 0 # blocks of 512 bytes, or of 1024
    noise 8192 | run prune - --from raw --raw-dtype f32 --shape 2048 -o out/w.s24
    expect_status 4
    expect_error 'out/w.s24: cannot write: File too large'
) || exit 1
expect_only out

# SIGKILL leaves the temporary file, beside whatever was there; the next run into the directory removes it, and no other's
start prune in --from raw --raw-dtype f32 --shape 1024,1024 -f -o out/w.s24
exec 3>in
cat data >&3
until_true begun
kill -s KILL "$pid"
finish
exec 3>&-
expect_status 137
left=$(find out -type f)
case $left in out/.w.s24.s24-????????-$pid-??????) ;; *) fail "a temporary file of another name: $left" ;; esac
other=$(printf %s "$left" | sed 's/s24-......../s24-0badc0de/') # of another machine
: >"$other"
: >out/.w.s24.s24-notes
start prune in --from raw --raw-dtype f32 --shape 1024,1024 -o out/w.s24 # another one that is killed
exec 3>in
cat data >&3
until_true [ ! -e "$left" ]
f32 1 2 3 4 | npy v.npy '<f4' '(4,)'
run prune v.npy -o out/v.s24 # while that one lives
expect_status 0
[ "$(find out -name ".w.s24.s24-*-$pid-*" | wc -l)" = 1 ] || fail "the temporary file of a process that lives"
kill -s KILL "$pid"
finish
exec 3>&-
run prune v.npy -v -f -o out/v.s24
expect_status 0
expect_stderr_has 'removed; a command that was killed left it behind'
expect_only out "${other#out/}" .w.s24.s24-notes v.s24
rm -r out v.npy
mkdir out

# with an old output: it stays
echo old >out/w.s24
start prune in --from raw --raw-dtype f32 --shape 1024,1024 -f -o out/w.s24
exec 3>in
cat data >&3
sleep 0.5
kill -s TERM "$pid"
finish
exec 3>&-
expect_status 143
expect_only out w.s24
[ "$(cat out/w.s24)" = old ] || fail "expected the old output"

# a directory that was made for the outputs goes, too; the second input is not begun
f32 1 2 3 4 | npy w.npy '<f4' '(4,)'
start prune in w.npy --from npy -o made
exec 3>in
head -c 100 w.npy >&3
sleep 0.5
kill -s INT "$pid"
finish
exec 3>&-
expect_status 130
expect_no_stderr
expect_no_file made

# commands that write nothing
for command in stats verify inspect; do
    start $command in w.npy
    exec 3>in
    head -c 100 w.npy >&3
    sleep 0.5
    kill -s INT "$pid"
    finish
    exec 3>&-
    expect_status 130
    expect_no_stderr
done

# a long measurement
rm in
start matmul-bench --m 1024 --k 1024 --n 1024 --reps 4096 --baseline none
sleep 0.5
kill -s INT "$pid"
finish
expect_status 130
expect_no_stdout
expect_no_stderr

# what is ignored stays ignored: nohup
mkfifo in
if command -v nohup >/dev/null; then
    nohup "$S24" prune in -o nohup.s24 -q >/dev/null 2>&1 &
    pid=$!
    exec 3>in
    head -c 100 w.npy >&3
    sleep 0.3
    kill -s HUP "$pid"
    sleep 0.3
    tail -c +101 w.npy >&3
    exec 3>&-
    finish
    expect_status 0
    expect_file nohup.s24
fi
