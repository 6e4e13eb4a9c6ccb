# What is refused for its size: a model of more than 262,144 tensors, in every format that names them; and what memory is taken
# for what is not.
. "$LIB"

most=262144
refused="too many tensors: s24 takes $most a model at most; split the model"

# u64 N: little-endian
u64()
{
    left=$1
    for _ in 1 2 3 4 5 6 7 8; do
        # shellcheck disable=SC2059 # the octal digits are the format
        printf "\\$(printf '%03o' $((left % 256)))"
        left=$((left / 256))
    done
}

# list FIRST EACH LAST N: N times EACH, with %x the number, and commas between them
list()
{
    awk -v first="$1" -v each="$2" -v last="$3" -v n="$4" 'BEGIN {
        printf "%s", first
        for (i = 0; i < n; i++) printf (i ? "," : "") each, i
        printf "%s", last
    }'
}

# model FIRST EACH LAST N: such a text as the header of m.safetensors
model()
{
    list "$@" >text
    { u64 "$(size_of text)" && cat text; } >m.safetensors
}

empty='"%x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
model '{' "$empty" '}' $most
run inspect m.safetensors
expect_status 0
model '{' "$empty" '}' $((most + 1))
for command in inspect verify stats 'prune --all'; do
    # shellcheck disable=SC2086 # a command and its option
    run $command m.safetensors
    expect_status 3
    expect_no_stdout
    expect_error m.safetensors "$refused"
done
run inspect - <m.safetensors
expect_status 3
expect_error 'standard input' "$refused"

model '{"__metadata__":{' '"%x":""' '}}' $((most + 1))
run inspect m.safetensors
expect_status 3
expect_error m.safetensors "too many keys in its metadata: s24 takes $most at most; leave some out"

list '{' '"%x":[]' '}' $((most + 1)) >m.json
run inspect m.json
expect_status 3
expect_error m.json "$refused"

# a checkpoint: in its index, and in its files together
mkdir model
list '{"weight_map":{' '"%x":"a.safetensors"' '}}' $((most + 1000)) >model/model.safetensors.index.json
: >model/a.safetensors
run inspect model
expect_status 3
expect_error model.safetensors.index.json 'more than the 263144 values that s24 takes here'
half=$((most / 2 + 1))
list '{"weight_map":{' '"a%x":"a.safetensors"' ',' $half >index
list '' '"b%x":"b.safetensors"' '}}' $half >>index
mv index model/model.safetensors.index.json
for name in a b; do
    model '{' "\"$name%x\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}" '}' $half
    mv m.safetensors model/$name.safetensors
done
run inspect model
expect_status 3
expect_error model "$refused"

# what cannot fit into a header: each name is in it four times
{
    printf '{"'
    head -c 26000000 /dev/zero | tr '\0' n
    printf '":{"dtype":"F32","shape":[1,4],"data_offsets":[0,16]}}'
} >text
{ u64 "$(size_of text)" && cat text && f32 1 2 3 4; } >m.safetensors
run prune m.safetensors -o m.s24
expect_status 3
expect_error m.s24 "too long names: the header would be beyond safetensors' 100,000,000 bytes"
expect_no_file m.s24

command -v python3 >/dev/null || skip 'the rest needs python3'
! grep -q '__[a-z]*san_' "$S24" || skip 'the rest is not for sanitizers'

# as many tensors as there may be: twice the input; 600 bytes more for each that is pruned
model '{' "$empty" '}' $most
for command in inspect 'inspect --json' verify stats 'prune -n'; do
    # shellcheck disable=SC2086 # a command and its options
    run_measured $command m.safetensors
    expect_resident $((2 * $(size_of m.safetensors)))
done
for command in 'prune -n --all' 'prune --all -o m.s24' 'prune --all -o m.out --to safetensors'; do
    # shellcheck disable=SC2086
    run_measured $command m.safetensors
    expect_status 0
    expect_resident $((2 * $(size_of m.safetensors) + 600 * most))
done
rm m.s24 m.out

# much metadata: twice the input
{
    printf '{"__metadata__":{"a":"'
    head -c 90000000 /dev/zero | tr '\0' v
    printf '"},"w":{"dtype":"F32","shape":[1,4],"data_offsets":[0,16]}}'
} >text
{ u64 "$(size_of text)" && cat text && f32 1 2 3 4; } >m.safetensors
for command in inspect 'prune -o m.s24' 'prune -o m.out --to safetensors'; do
    # shellcheck disable=SC2086
    run_measured $command m.safetensors
    expect_status 0
    expect_resident $((2 * $(size_of m.safetensors)))
done
rm m.s24 m.out

# names as long as a header
while read -r first last; do
    { printf '%s' "$first" && head -c 90000000 /dev/zero | tr '\0' n && printf '%s' "$last"; } >text
    { u64 "$(size_of text)" && cat text && f32 1 2 3 4; } >m.safetensors
    run_measured verify -q m.safetensors
    expect_resident $((2 * $(size_of m.safetensors)))
done <<END
{" ":{"dtype":"F32","shape":[1,4],"data_offsets":[0,16]}}
{"__metadata__":{" ":"v"},"w":{"dtype":"F32","shape":[1,4],"data_offsets":[0,16]}}
END

# JSON weights: the text, and 8 bytes for each of its numbers
text=16000000
# many FIRST EACH LAST: EACH again and again, m.json of as many bytes as are taken
many()
{
    { printf '%s' "$1" && yes "$2" | tr -d '\n' | head -c $(((text - 100) / ${#2} * ${#2})) && printf '%s' "$3"; } >m.json
}
while read -r first each last numbers; do
    many "$first" "$each" "$last"
    for command in inspect 'prune --all -n'; do
        # shellcheck disable=SC2086 # a command and its options
        run_measured $command m.json
        expect_resident $((text + 8 * numbers))
    done
    # shellcheck disable=SC2002 # a pipe, not a file
    cat m.json | run_measured inspect -
    expect_resident $((text + 8 * numbers))
    expect_status 0
done <<END
[ [1], [2]] 4000000
[ 1, 2] 8000000
[ [0.25,-1e-3], [2,3]] 2462000
END
text=64000000
many '{' '"":[],' '"":[]}' # keys, and no number
run_measured inspect m.json
expect_status 3
expect_error m.json 'the key "" occurs twice'
expect_resident $((2 * text))

# zeros that deflate to next to nothing, in rows that must be transposed, and an archive of them
python3 -c '
import zipfile
head = b"{\x27descr\x27: \x27<f4\x27, \x27fortran_order\x27: True, \x27shape\x27: (8192, 4096), }"
with zipfile.ZipFile("m.npz", "w", zipfile.ZIP_DEFLATED) as z, z.open("w.npy", "w") as f:
    f.write(b"\x93NUMPY\1\0\x76\0" + head.ljust(117) + b"\n")
    for _ in range(128):
        f.write(bytes(1 << 20))
'
for options in 'prune -o m.s24' 'prune -z --axis 1 -o m.z' 'prune --to npz -o m.out' stats verify 'convert -o c.s24'; do
    # shellcheck disable=SC2086
    run_measured $options -T 2 --no-sync m.npz
    expect_status 0
    expect_resident $((2 * $(size_of m.npz)))
done
