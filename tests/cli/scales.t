# scales: floats in 8 bits, a scale a row or for 128 columns, through every command.
. "$LIB"

w=$digits/fc1.weight.npy # f32 [128, 64]

# sizes: 20 bits for 4 elements, and 4 bytes a scale
for dtype in i8 f8e4m3 f8e5m2; do
    run prune "$w" --dtype $dtype -o $dtype.s24
    expect_status 0
    expect_stderr_has "f32->$dtype "
    run stats $dtype.s24 --json
    expect_stdout_has "\"stored_dtype\":\"$dtype\""
    expect_stdout_has '"scales":"row"'
    expect_stdout_has '"bytes_dense":32768,"bytes_stored":5632'
    run verify $dtype.s24
    expect_status 0
    run stats $dtype.s24 --original "$w" --json
    mv .stdout again
    run stats $dtype.s24 --json
    expect_same .stdout again
    # the same file from a pipe, to a pipe, and whatever the threads and the instruction set
    # shellcheck disable=SC2002
    cat "$w" | "$S24" prune - --dtype $dtype -q -T 3 --isa generic -o - >piped.s24
    expect_same $dtype.s24 piped.s24
    run decompress $dtype.s24 -o $dtype.npy
    expect_status 0
    # shellcheck disable=SC2002
    cat $dtype.s24 | "$S24" decompress - -o - >piped.npy
    expect_same $dtype.npy piped.npy
    run verify $dtype.npy
    expect_status 0
done

# quantization costs little beside pruning
error() { "$S24" stats "$1" --tsv | tail -n 1 | cut -f 6; }
run prune "$w" -q
run prune "$w" -q -o same.s24
for dtype in i8 f8e4m3 f8e5m2; do
    awk -v a="$(error same.s24)" -v b="$(error $dtype.s24)" 'BEGIN {exit !(b > a && b < 1.05 * a)}' ||
        fail "expected $dtype to cost less than a twentieth more"
done

# by hand: of 254 and 1 the scale is 2, and the half of 1 goes to the even 0
echo '[[254,0,-3,1,0,0,1,5]]' >hand.json
run prune hand.json --dtype i8 -q
run decompress hand.s24 -o -
expect_stdout '[[254,0,-4,0,0,0,0,4]]'
run inspect hand.s24
expect_stdout_has ' i8 '

# groups of columns
noise 1056 | npy g.npy '<f4' '(2,132)'
run prune g.npy --dtype f8e4m3 --group-size 128 -o g.s24
expect_status 0
expect_stderr_has 'f32->f8e4m3/128'
run inspect g.s24
expect_stdout_has 'f8e4m3/128'
run inspect g.s24 --json
expect_stdout_has '"scales":128'
run stats g.s24 --json
expect_stdout_has '"bytes_stored":182' # 132 values, 34 positions, 4 scales
run verify g.s24
expect_status 0
run prune g.npy --dtype f8e4m3 --group-size 0 -q -o g0.s24
run prune g.npy --dtype f8e4m3 -q -o row.s24
expect_same g0.s24 row.s24
run prune g.npy --dtype f8e4m3 --group-size 64
expect_status 2
run prune g.npy --group-size 128
expect_status 2
expect_error '--group-size goes with --dtype i8, f8e4m3 or f8e5m2'

# what 8 bits do not hold
f32 1 2 3 4 | npy few.npy '<f4' '(4,)'
f32 1 2 3 nan | npy nan.npy '<f4' '(4,)'
for how in '' --allow-nonfinite; do
    # shellcheck disable=SC2086
    run prune nan.npy --dtype i8 $how
    expect_status 3
    expect_error 'element [3] is nan, and i8 with scales has no place for it; mend the weights, or leave --dtype out'
    expect_no_file nan.s24
done
echo '[1e300,1,2,3]' >far.json
run prune far.json --dtype i8
expect_status 3
expect_error 'element [0] is 1e+300, beyond the range of i8 with an f32 scale; choose a wider --dtype'
printf '\377\377\177\177\000\000\200\077' | npy most.npy '<f4' '(2,)'
run prune most.npy --dtype i8 # its scale is rounded up, and 127 times it is beyond f32
expect_status 3
expect_error 'element [0] is 3.40282347e+38, beyond the range of i8 with an f32 scale'

# what is in 8 bits stays as it is, without scales
printf '\177\200\001\002' >b.raw
run prune b.raw --from raw --raw-dtype i8 --shape 1,4 --dtype i8 -q
expect_status 0
run prune b.raw --from raw --raw-dtype i8 --shape 1,4 -q -o plain.s24
expect_same b.s24 plain.s24
run inspect b.s24 --json
expect_stdout_has '"scales":null'
run prune b.raw --from raw --raw-dtype i8 --shape 1,4 --dtype f8e4m3 -o no.s24
expect_status 2
expect_error 'i8 cannot be stored as f8e4m3'

# dense files have no scales
for type in same npy safetensors; do
    run prune few.npy --dtype i8 --to $type -o dense.out
    expect_status 2
    expect_error 'a dense file has no place for the scales of i8'
    expect_no_file dense.out
done
run prune few.npy --dtype i8 -n
expect_status 0
run decompress i8.s24 --dtype f16 -o half.npy
expect_status 0
[ "$(size_of half.npy)" -eq 16512 ] || fail "expected half.npy of 16512 bytes"
run decompress i8.s24 --dtype i8 -o no.npy
expect_status 2
expect_error 'cannot become i8 without scales'

# rows longer than a panel
dd if=/dev/zero bs=262148 count=4 2>/dev/null | npy long.npy '<f4' '(1,262148)'
run prune long.npy --dtype i8
expect_status 2
expect_error 'a row of 262148 elements is too long for one scale, which takes up to 262144; --group-size 128 gives'
run prune long.npy --dtype i8 --group-size 128 -q
expect_status 0
run verify long.s24
expect_status 0

# other layouts get the floats
run prune "$digits/digits.safetensors" --dtype i8 -q -o digits.s24
run convert digits.s24 --to safetensors -o a.safetensors --json
expect_status 0
expect_stdout_has '"name":"fc1.weight","dtype":"f32","stored_dtype":"f32"'
expect_stdout_has '"bytes_dense":32768,"bytes_stored":32768,"bits_per_element":32,"scales":null'
run decompress digits.s24 -o b.safetensors
expect_same a.safetensors b.safetensors
run convert digits.s24 --to sparse-24-bitmask -o bitmask.safetensors --json
expect_stdout_has '"bytes_dense":32768,"bytes_stored":17408,"bits_per_element":17,"scales":null'
expect_status 0
run convert bitmask.safetensors --to safetensors -o c.safetensors
expect_status 0
run stats digits.s24 --original c.safetensors --json
expect_status 0
for tensor in fc1.weight fc1.bias; do
    for file in b c; do
        run inspect $file.safetensors
        expect_stdout_has $tensor
    done
done

# one damaged scale costs its panel: the end of the scales is 4 bytes before the checks
cp i8.s24 hurt.s24
at=$(($(size_of i8.s24)))
start=$(strings -n 8 i8.s24 | sed -n 's/.*scales":{"dtype":"F32","shape":\[128\],"data_offsets":\[\([0-9]*\),.*/\1/p' | head -n 1)
header=$(od -An -tu4 -N4 i8.s24 | tr -d ' ')
printf '\377' | dd of=hurt.s24 bs=1 seek=$((8 + header + start + 9)) conv=notrunc 2>/dev/null
[ "$at" -eq "$(size_of hurt.s24)" ] || fail "expected hurt.s24 to be as long"
run verify hurt.s24
expect_status 1
expect_stdout_has 'rows 0 to 127 do not match their check: damaged'
run decompress hurt.s24 -o no2.npy
expect_status 3
run decompress hurt.s24 --salvage -o salvaged.npy
expect_status 3
expect_file salvaged.npy

# products
run matmul-bench i8.s24 --n 1,3 --reps 1 -T 1 --baseline none --json
expect_status 0
run matmul-bench i8.s24 --n 1,3 --reps 1 -T 1 --baseline none --compute i8 --json
expect_status 0
