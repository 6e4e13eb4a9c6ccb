# Archives: what -z writes unpacks to the plain file, byte for byte, whichever way it takes.
. "$LIB"

# $1 bytes that no coder makes much smaller, but finite as any float.
random()
{
    awk -v n="$1" 'BEGIN { s = 24; for (i = 0; i < n; i++) { s = (s * 1103515245 + 12345) % 2147483648; printf "%c", 33 + int(s / 65536) % 90 } }'
}

# both: $1.s24 plain and $1.z.s24 as an archive, of the input $2 with options $3...
both()
{
    name=$1
    input=$2
    shift 2
    run prune "$input" -o "$name.s24" -q "$@"
    expect_status 0
    run prune "$input" -z -o "$name.z.s24" -q "$@"
    expect_status 0
    expect_no_stderr
    round_trip "$name"
}

# $1.s24 and $1.z.s24 are the same thing
round_trip()
{
    [ "$(head -c 8 "$1.z.s24" | od -A n -t x1 | tr -d ' ')" = 895332340d0a1a0a ] || fail "expected an archive's magic"
    [ $(($(size_of "$1.z.s24") * 1000)) -le $(($(size_of "$1.s24") * 1001)) ] || fail "expected $1.z.s24 to be no larger"
    run verify -v "$1.z.s24"
    expect_status 0
    expect_stdout "$1.z.s24: ok"
    run convert "$1.z.s24" -o "$1.back.s24" -q
    expect_status 0
    expect_same "$1.back.s24" "$1.s24"
    run convert "$1.s24" -z -o "$1.again.s24" -q
    expect_status 0
    expect_same "$1.again.s24" "$1.z.s24"
    # shellcheck disable=SC2002 # pipes are what is tried
    cat "$1.z.s24" | "$S24" convert - -o - -q | cat >"$1.piped.s24" || fail "an archive through pipes"
    expect_same "$1.piped.s24" "$1.s24"
    # shellcheck disable=SC2002
    cat "$1.s24" | "$S24" convert - -z -o - -q | cat >"$1.piped.z.s24" || fail "a plain file through pipes"
    expect_same "$1.piped.z.s24" "$1.z.s24"
    rm "$1".back.s24 "$1".again.s24 "$1".piped.s24 "$1".piped.z.s24
}

# ---------------------------------------------------------------- all sorts of files

both digits "$digits/digits.safetensors"
for dtype in f64 f16 bf16; do
    both digits.$dtype "$digits/digits.safetensors" --dtype $dtype
done
both all "$digits/digits.safetensors" --all
both turned "$digits/digits.safetensors" --axis 0 --include '*weight'
f32 1 2 3 4 4 3 2 1 | npy w.npy '<f4' '(2, 4)'
both w w.npy
f32 3 | npy scalar.npy '<f4' '()'
both scalar scalar.npy
f32 1 2 3 | npy odd.npy '<f4' '(3, 1)'
both odd odd.npy
: | npy none.npy '<f4' '(0, 4)'
both none none.npy
noise 70000 | npy i8.npy '|i1' '(7, 10000)'
both i8 i8.npy
random 1200000 | npy rows.npy '<f4' '(300, 1000)' # several frames
both rows rows.npy
random 1200000 | npy long.npy '<f2' '(2, 300000)' # rows longer than a panel, with an odd number of groups at their end
both long long.npy
noise 700003 >bytes
{ f32 1 2 3 4; cat bytes; noise 30; noise 75; } | safetensors carried.safetensors \
    '{"__metadata__":{"mine":"kept"},"w":{"dtype":"F32","shape":[1,4],"data_offsets":[0,16]},"bytes":{"dtype":"U8","shape":[700003],"data_offsets":[16,700019]},"four":{"dtype":"F4","shape":[60],"data_offsets":[700019,700049]},"six":{"dtype":"F6_E2M3","shape":[100],"data_offsets":[700049,700124]}}'
both carried carried.safetensors --include w

# many small tensors share frames: a frame begins with its magic
awk 'BEGIN {
    printf "{"
    for (i = 0; i < 400; i++) printf "%s\"t%d.weight\":{\"dtype\":\"F32\",\"shape\":[8,8],\"data_offsets\":[%d,%d]}", i ? "," : "", i, 256 * i, 256 * i + 256
    printf "}"
}' >header
noise 102400 | safetensors many.safetensors "$(cat header)"
both many many.safetensors
frames=$(LC_ALL=C grep -a -o 'S24F' many.z.s24 | wc -l)
[ "$frames" -eq 4 ] || fail "expected one frame of data, the header twice, and the index, not $frames frames"
[ $((2 * $(size_of many.z.s24))) -lt "$(size_of many.s24)" ] || fail "expected less than half of many.s24"

# ---------------------------------------------------------------- levels, threads, instruction sets

for level in 1 2 9; do
    run prune rows.npy -z$level -o rows.$level.s24 -q
    expect_status 0
    run convert rows.$level.s24 -o back.s24 -fq
    expect_same back.s24 rows.s24
    run convert rows.z.s24 --archive=$level -o again.s24 -fq # from one level to another
    expect_status 0
    expect_same again.s24 rows.$level.s24
done
[ "$(size_of rows.9.s24)" -le "$(size_of rows.1.s24)" ] || fail "expected level 9 to be no larger than level 1"
for input in rows.npy many.safetensors carried.safetensors; do
    run prune $input -z -o one.s24 -fq -T 1
    for how in '-T 2' '-T 5' '--isa generic' '--isa avx2'; do
        # shellcheck disable=SC2086 # an option and its value
        run prune $input -z -o other.s24 -fq $how
        expect_same one.s24 other.s24
        # shellcheck disable=SC2086
        run convert one.s24 -o back.s24 -fq $how
        expect_status 0
        run convert one.s24 -o back1.s24 -fq -T 1
        expect_same back.s24 back1.s24
    done
done
# shellcheck disable=SC2002
cat rows.npy | "$S24" prune - -z -o - -q | cat >piped.s24
expect_same piped.s24 rows.z.s24

# ---------------------------------------------------------------- every command reads them

for name in digits rows carried; do
    for way in '' piped; do
        if [ -n "$way" ]; then
            # shellcheck disable=SC2002
            cat $name.z.s24 | "$S24" decompress - -o $name.dense -fq || fail "decompress of a pipe"
            # shellcheck disable=SC2002
            cat $name.z.s24 | "$S24" verify - || fail "verify of a pipe"
            # shellcheck disable=SC2002
            cat $name.z.s24 | "$S24" decompress - --salvage -o $name.saved -fq || fail "salvage of a pipe"
        else
            run decompress $name.z.s24 -o $name.dense -fq
            expect_status 0
            run decompress $name.z.s24 --salvage -o $name.saved -fq
            expect_status 0
        fi
        run decompress $name.s24 -o $name.wanted -fq
        expect_same $name.dense $name.wanted
        expect_same $name.saved $name.wanted
    done
done
run decompress digits.z.s24 --tensor fc2.weight -o fc2.npy -q
expect_status 0
run decompress digits.s24 --tensor fc2.weight -o fc2.wanted.npy -q
expect_same fc2.npy fc2.wanted.npy
run stats digits.z.s24 --original "$digits/digits.safetensors" --json
expect_status 0
expect_stdout_has '"relative_error":0.3807219584127'
run matmul-bench digits.z.s24 --tensor fc1.weight --n 1 --reps 1 --warmup 0 --baseline none
expect_status 0
run prune digits.z.s24 -o no.s24
expect_status 2
expect_error 'is a .s24 file'
mkdir model
cp "$digits/digits.safetensors" model/model.safetensors
run prune model -z -o packed -q
expect_status 0
expect_only packed model.s24

# figures of a plain file and of its archive are the same, but for what is stored
sizes='s/"bytes_stored":[0-9]*,"bits_per_element":[0-9.]*//; s/"archive": [a-z]*//; s/digits[.z]*s24//'
tab=$(printf '\t')
stored="s/^\(\([^$tab]*$tab\)\{12\}\)[0-9]*/\1/" # the 13th field of --tsv
for how in '--json' '--tsv'; do
    run stats digits.s24 $how
    sed "$sizes; $stored" .stdout >wanted
    # shellcheck disable=SC2002
    cat digits.z.s24 | "$S24" stats - $how | sed "$sizes; s/\"-\"/\"\"/; s/^-//; $stored" >found
    expect_same found wanted
done

# ---------------------------------------------------------------- what is stored

run stats digits.z.s24 --json
expect_status 0
expect_stdout_has '{"path": "digits.z.s24", "format": "s24", "archive": true, "tensors": ['
expect_stdout_has '"bits_per_element":'
expect_stdout_lacks 'bytes_by_part'
cp .stdout from.file
# shellcheck disable=SC2002
cat digits.z.s24 | "$S24" stats - --json | sed 's/"-"/"digits.z.s24"/' >from.pipe
expect_same from.file from.pipe
run prune "$digits/digits.safetensors" -z -o report.s24 --json -q
grep -o '"bytes_stored":[0-9]*' .stdout >wanted
grep -o '"bytes_stored":[0-9]*' from.file >found
expect_same found wanted
total=$(grep -o '"bytes_stored":[0-9]*' from.file | tail -n 1 | cut -d: -f2)
[ "$total" -lt "$(size_of digits.z.s24)" ] || fail "expected the tensors to take less than the file"
run stats digits.z.s24 -v --json
expect_status 0
expect_stdout_has '"bytes_by_part":{"positions":'
cp .stdout from.file
# shellcheck disable=SC2002
cat digits.z.s24 | "$S24" stats - -v --json | sed 's/"-"/"digits.z.s24"/' >from.pipe
expect_same from.file from.pipe
# the parts of a tensor are all of it
sed -n 's/.*"bytes_stored":\([0-9]*\).*"bytes_by_part":{"positions":\([0-9]*\),"planes":\[\([0-9,]*\)\],"tables":\([0-9]*\),"frames":\([0-9]*\)}.*/\1 \2,\3,\4,\5/p' \
    from.file >parts
[ "$(wc -l <parts)" -eq 6 ] || fail "expected six tensors"
while read -r whole parts; do
    [ "$whole" -eq $(($(echo "$parts" | tr , +))) ] || fail "expected $whole to be $parts"
done <parts
run inspect digits.z.s24
expect_status 0
expect_stdout_has 'digits.z.s24: s24 archive, 6 tensors, 3 pruned'
expect_stdout_has 'bits'
expect_stdout_lacks 'positions'
run inspect digits.z.s24 -v
expect_stdout_has 'positions '
run inspect digits.z.s24 --json
expect_stdout_has '"archive": true'
run stats w.z.s24
expect_stdout_has 'bits_per_element'
run stats digits.z.s24 --fail-if 'bits_per_element>1'
expect_status 1

# ---------------------------------------------------------------- checkpoints

mkdir ck
noise 2048 | safetensors ck/model-1.safetensors '{"one.weight":{"dtype":"F32","shape":[16,32],"data_offsets":[0,2048]}}'
{ noise 4096; f32 1 2; } | safetensors ck/model-2.safetensors '{"two.weight":{"dtype":"F16","shape":[32,64],"data_offsets":[0,4096]},"two.bias":{"dtype":"F32","shape":[2],"data_offsets":[4096,4104]}}'
echo '{"metadata":{"total_size":1,"mine":2},"weight_map":{"one.weight":"model-1.safetensors","two.weight":"model-2.safetensors","two.bias":"model-2.safetensors"}}' >ck/model.safetensors.index.json
echo '{"layers":2}' >ck/config.json
run prune ck -o ck.plain -q
expect_status 0
run prune ck -z -o ck.z -q
expect_status 0
run convert ck.plain -z -o ck.z2 -q
expect_status 0
run convert ck.z -o ck.plain2 -q
expect_status 0
diff -r ck.plain ck.plain2 || fail "expected the same directories of plain files"
diff -r ck.z ck.z2 || fail "expected the same directories of archives"
run verify ck.z
expect_status 0
run decompress ck.z -o ck.dense -q
expect_status 0
run decompress ck.plain -o ck.dense2 -q
diff -r ck.dense ck.dense2 || fail "expected the same directories of dense files"
for i in 1 2; do
    run prune ck -z --shards $i/2 -o ck.shared -q
    expect_status 0
done
diff -r ck.z ck.shared || fail "expected the same of shares"
run convert ck.plain -o no -q
expect_status 2
expect_error 'ck.plain: is a .s24 file already'
run convert ck.z -o no.s24 -q
expect_status 2
expect_error 'stay files: give a directory'
cp ck.plain/model-1.s24 ck.z/model-1.s24 # some plain, some not
run convert ck.z -o ck.mixed -q
expect_status 0
diff -r ck.plain ck.mixed || fail "expected plain files of both"
run stats ck.z --json
expect_status 0

# ---------------------------------------------------------------- damage

# hurt FILE OFFSET: another byte there
hurt()
{
    byte=$(od -A n -t u1 -j "$2" -N 1 "$1" | tr -d ' ')
    # shellcheck disable=SC2059 # the octal digits are the format
    printf "\\$(printf '%03o' $(((byte + 1) % 256)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

size=$(size_of rows.z.s24)
cp rows.z.s24 hurt.s24
hurt hurt.s24 $((size / 2))
run verify hurt.s24
expect_status 1
expect_stdout_has 'hurt.s24: arr_0: rows '
run decompress hurt.s24 -o no.npy
expect_status 3
expect_error 'hurt.s24: arr_0: is damaged: frame ' 's24 decompress --salvage recovers what is whole'
expect_no_file no.npy
run decompress hurt.s24 -o saved.npy --salvage
expect_status 3
expect_stderr_has 'hurt.s24: arr_0: rows '
expect_stderr_has 'are lost'
expect_file saved.npy
run decompress rows.s24 -o wanted.npy -q
[ "$(cmp -l saved.npy wanted.npy | wc -l)" -gt 0 ] || fail "expected something to be lost"
[ "$(size_of saved.npy)" -eq "$(size_of wanted.npy)" ] || fail "expected all rows"
run convert hurt.s24 -o no.s24
expect_status 3
expect_no_file no.s24
run stats hurt.s24 # the metrics are in another frame
expect_status 0

for at in 0 3 9 30 100 $((size - 10)) $((size - 60)) $((size - 80)); do
    cp rows.z.s24 hurt.s24
    hurt hurt.s24 "$at"
    run verify hurt.s24
    expect_status 1
    expect_stdout_has 'hurt.s24: '
    run decompress hurt.s24 --salvage -o saved.npy -fq
    expect_status 0 # nothing of the data is lost
    expect_same saved.npy wanted.npy
done
for n in 9 100 $((size / 3)) $((size - 100)) $((size - 1)); do
    head -c "$n" rows.z.s24 >hurt.s24
    run verify hurt.s24
    expect_status 1
    # shellcheck disable=SC2002
    cat hurt.s24 | "$S24" verify - >.stdout 2>.stderr
    [ $? -eq 1 ] || fail "expected a pipe that was cut off after $n bytes to be a fault"
done
(cat rows.z.s24 && echo) >hurt.s24
run verify hurt.s24
expect_status 1
expect_stdout_has 'is damaged: its tail'
run verify - <hurt.s24
expect_status 1

# ---------------------------------------------------------------- usage

for wrong in -z0 -z10 --archive=fast --archive=; do
    run prune w.npy $wrong -o no.s24
    expect_usage_error prune 'not a level from 1 to 9'
done
run prune w.npy -zq -o zq.s24 # letters behind it are other options
expect_status 0
run prune w.npy -z5qf -o zq.s24
expect_status 0
expect_same zq.s24 w.z.s24
for to in same npy safetensors; do
    run prune w.npy -z --to $to -o no.out
    expect_usage_error prune '--archive is for .s24 files'
    run convert w.s24 -z --to safetensors -o no.out
    expect_usage_error convert '--archive is for .s24 files'
done
run convert w.s24 -o no.s24
expect_status 2
expect_error 'w.s24: is a .s24 file already' '-z makes it an archive'
run convert w.z.s24 -o w.z.s24 -f
expect_status 2
expect_error 'is the input'
"$S24" convert - -o w.z.s24 -f <w.z.s24 2>.stderr
[ $? -eq 2 ] || fail "expected standard input to be seen to be the output"
expect_error 'is the input'
expect_no_file no.s24
