# A disk that is full at any of the writes: status 4, one line, nothing of the output left, and an old one untouched. First
# by the limit on a file's size, which any shell can set; then on a small file system, where it can be had without root.
. "$LIB"

noise 20480 >w.raw
run prune w.raw --from raw --raw-dtype f32 --shape 64,80 -f -o w.s24 -q
expect_status 0
noise 8192 | safetensors m.safetensors \
    '{"a.weight":{"dtype":"F32","shape":[16,64],"data_offsets":[0,4096]},''"b.weight":{"dtype":"F32","shape":[16,64],"data_offsets":[4096,8192]}}'
awk 'BEGIN { for (i = 0; i < 128; i++) printf "%s[4,0,3,0,0,2,1,0,5,6,0,0,7,0,0,8]", i ? "," : "["; print "]" }' >j.json
run prune m.safetensors --all -f -o m.s24 -q
expect_status 0
mkdir -p model small
cp m.safetensors model
printf '{"weight_map":{"a.weight":"m.safetensors","b.weight":"m.safetensors"}}' >model/model.safetensors.index.json

# What writes, and what it writes: each has its data, and the end behind them, at other moments than the others.
cat >commands <<'E'
w.s24 prune w.raw --from raw --raw-dtype f32 --shape 64,80
w.npz prune w.raw --from raw --raw-dtype f32 --shape 64,80 --to npz
m.s24 prune m.safetensors --all
w.npy decompress w.s24
w.safetensors decompress w.s24
w.raw decompress w.s24
w.json decompress w.s24
j.s24 convert j.json
b.safetensors convert m.s24 --to sparse-24-bitmask
model prune model --all
E

# Runs the command with ever more room until it has enough: once where no output is, and once more over that one. A run
# that fails must leave small/ as it was. $1 LEVEL COMMAND: runs it with room for so much.
ever_more_room()
{
    while read -r name words; do
        mkdir before
        for _ in absent there; do
            level=0
            until [ "$level" -gt 0 ] && [ "$(cat .status)" -eq 0 ]; do
                level=$((level + 1))
                [ $level -lt 100 ] || fail "there was never room"
                $1 $level "$words -q -f --no-sync -o small/$name"
                if [ "$(cat .status)" -ne 0 ]; then
                    expect_status 4
                    expect_no_stdout
                    expect_error "s24: small/$name" ": $reason"
                    diff -r before small || fail "expected small/ as it was before"
                fi
            done
            [ $level -gt 1 ] || fail "expected no room at first"
            rm -rf before && mkdir before && cp -R small/. before
        done
        rm -rf before small/*
    done <commands
}

with_limit() # of blocks of 512 bytes, or of 1024; the first has room for a message
{
    # shellcheck disable=SC2086 # words
    (ulimit -f $(($1 * 4 - 3)) && run $2)
    ran=$2
}

with_pages() # of 4 KiB, free in the file system disk/
{
    dd if=/dev/zero of=disk/rest bs=4096 2>/dev/null
    truncate -s -$(($1 * 4096)) disk/rest
    # shellcheck disable=SC2086 # words
    run $2
    rm disk/rest
}

if [ -z "${INSIDE-}" ]; then
    reason='File too large'
    ever_more_room with_limit
    # from here on in a name space in which anybody may mount
    unshare -rm true 2>/dev/null || skip "no file system to fill up: unshare -rm does not work"
    INSIDE=1 exec unshare -rm sh "$0"
fi

mkdir disk
mount -t tmpfs -o size=1m tmpfs disk || skip "no file system to fill up: tmpfs cannot be mounted"
mkdir disk/small
rmdir small
ln -s disk/small small
reason='No space left on device'
ever_more_room with_pages

# what cannot be written in the order in which a pipe has it goes to a temporary file, which is elsewhere
dd if=/dev/zero bs=1000000 count=80 2>/dev/null |
    TMPDIR=$PWD/disk run prune - --from raw --raw-dtype i8 --shape 8000,10000 --axis 0 -o out.s24
expect_status 4
expect_error "standard input: a temporary file in $PWD/disk (TMPDIR says where): cannot write: $reason"
expect_no_file out.s24
expect_only disk small
