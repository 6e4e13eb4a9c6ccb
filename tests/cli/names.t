# File names of every kind.
. "$LIB"

f32 1 2 3 4 | npy w.npy '<f4' '(4,)'

# a dash in front
cp w.npy ./-w.npy
run prune -q -- -w.npy
expect_status 0
expect_file ./-w.s24
run prune -q ./-w.npy -o ./-v.s24
expect_status 0
run prune -q -o -x.s24 w.npy
expect_status 0
expect_file ./-x.s24
run prune --output=-y.s24 -q -- w.npy
expect_file ./-y.s24
run verify -- -w.s24 -v
expect_status 4
expect_error '-v: '
run stats -- -w.s24
expect_status 0
rm -f -- -w.npy -w.s24 -v.s24 -x.s24 -y.s24

# "--" as an option's value, and after itself
run prune -q -o -- w.npy
expect_status 0
expect_file ./--
rm -f ./--
cp w.npy ./--
run prune -q -o x.s24 -- --
expect_status 0
rm -f ./--

# blanks, quotes, UTF-8
cp w.npy 'a b.npy'
cp w.npy "it's \"quoted\".npy"
cp w.npy 'größe.npy'
run prune 'a b.npy' "it's \"quoted\".npy" 'größe.npy'
expect_status 0
expect_file 'a b.s24'
expect_file "it's \"quoted\".s24"
expect_file 'größe.s24'
expect_stderr_has 'größe.npy -> größe.s24'
run stats "it's \"quoted\".s24" --json
expect_stdout_has '"it'"'"'s \"quoted\".s24"'

# control characters do not reach the terminal: one line, escaped
evil=$(printf 'a\nb\033[31m\tc\177\202.npy')
cp w.npy "$evil"
run prune "$evil" -o out.s24
expect_status 0
expect_stderr_has 'a\nb\x1b[31m\tc\x7f\x82.npy -> out.s24'
run stats "missing$evil"
expect_status 4
expect_error 's24: missinga\nb\x1b[31m\tc\x7f\x82.npy: '
run prune w.npy --no-such"$(printf '\033')"
expect_status 2
expect_error '\x1b'
run "$(printf 'ab\ncd')"
expect_status 2
expect_error 'ab\ncd'
run stats "$evil" --tsv
expect_status 0
[ "$(wc -l <.stdout)" -eq 2 ] || fail "expected two lines"
grep -F -q 'a\nb\x1b[31m\tc\x7f\x82.npy' .stdout || fail "expected an escaped name"
for command in stats inspect verify; do
    run $command "$evil" --json
    expect_stdout_has 'a\nb\u001b[31m\tc'
    if command -v python3 >/dev/null; then
        python3 -m json.tool .stdout >/dev/null || fail "expected valid JSON, in UTF-8"
    fi
done

# so it is with names of tensors
printf '{"e\\u001b[31m\\nw":[[1,2,3,4]],"norm":[1]}' >t.json
run inspect t.json
expect_status 0
expect_stdout_has 'e\x1b[31m\nw '
run verify t.json
expect_status 1
expect_stdout_has 't.json: e\x1b[31m\nw: row 0'
run prune t.json
expect_status 0
expect_stderr_has 'e\x1b[31m\nw '

# long names
long=$(printf 'n%.0s' $(seq 250))
cp w.npy "$long.npy"
run prune "$long.npy" -q
expect_status 0
expect_file "$long.s24"
mkdir deep
run prune "$long.npy" -q -o deep
expect_status 0

# dots and directories
mkdir a.b
cp w.npy a.b/model
cp w.npy .npy
run prune a.b/model .npy -q
expect_status 0
expect_file a.b/model.s24
expect_file .npy.s24

# what would show a line in another order than it has is escaped, too
f32 1 2 3 4 | safetensors bidi.safetensors '{"a\u202eb":{"dtype":"F32","shape":[1,4],"data_offsets":[0,16]}}'
run inspect bidi.safetensors
expect_stdout_has 'a\xe2\x80\xaeb'
