# s24 convert: between layouts, without loss, from and to files, pipes and directories.
. "$LIB"

# The last $3 bytes are the same: the data of safetensors files whose headers are padded in another way.
expect_same_data()
{
    tail -c "$3" "$1" >.one
    tail -c "$3" "$2" >.two
    cmp -s .one .two || fail "expected $1 and $2 to have the same data"
    rm .one .two
}

# a is 2:4, with a -0.0 that goes; b is not, in row 1; nothing else can be
values()
{
    f32 1 0 0 2 0 "$1" 3 4
    f32 1 2 0 0 1 2 3 0
    f32 -1
    printf '\007\000\000\000\000\000\000\000\001\000'
}
header='{"__metadata__":{"format":"pt","mine":"kept"},"a.weight":{"dtype":"F32","shape":[2,4],"data_offsets":[0,32]},"b.weight":{"dtype":"F32","shape":[2,4],"data_offsets":[32,64]},"s":{"dtype":"F32","shape":[],"data_offsets":[64,68]},"id":{"dtype":"I64","shape":[],"data_offsets":[68,76]},"flag":{"dtype":"BOOL","shape":[2],"data_offsets":[76,78]},"none":{"dtype":"F32","shape":[0,4],"data_offsets":[78,78]}}'
values -0 | safetensors m.safetensors "$header"
values 0 | safetensors plain.safetensors "$header"

# ---------------------------------------------------------------- dense to .s24, and back

run convert m.safetensors -o m.s24 -v
expect_status 0
expect_no_stdout
expect_stderr_has 'm.safetensors: a.weight: 1 element -0.0 became +0.0'
grep -q '^a.weight .* packed ' .stderr || fail "expected a.weight to be packed"
grep -q '^b.weight .* dense .* not 2:4: row 1, group 0: 3 of 4 elements are not zero; 1 of 2 groups is not 2:4$' .stderr ||
    fail "expected to be told why b.weight stays dense"
grep -q '^id .* dense .* dtype i64$' .stderr || fail "expected to be told why id stays dense"
run verify m.s24
expect_status 0
run inspect m.s24
expect_stdout_has 'm.s24: s24, 6 tensors, 1 pruned'

run convert m.safetensors -o m2.s24 --json
expect_status 0
expect_stdout_has '"schema": "s24.stats/1"'
expect_stdout_has '"path": "m.safetensors"'
expect_stdout_has '"name":"a.weight","dtype":"f32","stored_dtype":"f32","shape":[2,4],"axis":1,"status":"packed","reason":null,"method":"packed","pruned_count":4,"total_count":8,"approximation_error":0'
expect_stdout_has '"name":"b.weight","dtype":"f32","stored_dtype":"f32","shape":[2,4],"axis":null,"status":"dense","reason":"not 2:4: row 1, group 0: 3 of 4 elements are not zero; 1 of 2 groups is not 2:4"'
expect_same m.s24 m2.s24
run convert plain.safetensors -o plain.s24 -v
expect_status 0
expect_stderr_lacks '-0.0'
for how in '-T 1' '-T 3' '--isa generic'; do
    # shellcheck disable=SC2086 # an option and its value
    run convert $how -q -f m.safetensors -o m2.s24
    expect_status 0
    expect_same m.s24 m2.s24
done

run convert m.s24 -o back.safetensors
expect_status 0
expect_same_data back.safetensors plain.safetensors 78
expect_stderr_has 'm.s24 -> back.safetensors'
grep -q '"mine":"kept"' back.safetensors || fail "expected the metadata"
run convert m.s24 --to safetensors -o other -q
expect_status 0
expect_no_stderr
expect_same other back.safetensors
run decompress m.s24 -o decompressed.safetensors -q
expect_same decompressed.safetensors back.safetensors
run stats m.s24 --original m.safetensors --json
expect_status 0
expect_stdout_has '"approximation_error":0,'

# ---------------------------------------------------------------- what is asked for must be 2:4

run convert m.safetensors -o no.s24 --include 'b.*'
expect_status 3
expect_error 'm.safetensors: b.weight: not 2:4: row 1, group 0' 's24 prune makes it so'
expect_no_file no.s24
run convert m.safetensors -o m.s24 -f --include 'b.*' -q
expect_status 3
expect_same m.s24 m2.s24
run convert m.safetensors -o one.s24 --include 'b.*' --exclude b.weight -q
expect_status 0
run convert m.safetensors -o all.s24 --all -q
expect_status 0
run inspect all.s24
expect_stdout_has '6 tensors, 3 pruned' # the scalar and the empty one are as sparse as 2:4 asks

# ---------------------------------------------------------------- nothing to pack

run convert m.safetensors -o no.s24 --exclude a.weight
expect_status 5
expect_error 'm.safetensors: no tensor is 2:4 and can be packed' '-v says why'
expect_no_file no.s24
run convert m.safetensors -o no.s24 --exclude a.weight -v
expect_status 5
expect_stderr_has 'excluded by a.weight'
expect_stderr_has 'not 2:4: row 1, group 0: 3 of 4'
run convert m.safetensors -o no.s24 --exclude a.weight --json
expect_status 5
expect_stdout_has '"name":"a.weight","dtype":"f32","stored_dtype":"f32","shape":[2,4],"axis":null,"status":"dense","reason":"excluded by a.weight"'
run convert m.safetensors -o no.s24 --to cutlass -v
expect_status 5
expect_stderr_has 'f32: the hardware takes f16, bf16 and i8'
expect_no_file no.s24
run convert m.s24 -o no.safetensors --to cutlass -v
expect_status 5
expect_stderr_has 'f32: the hardware takes f16, bf16 and i8'
expect_no_file no.safetensors

# ---------------------------------------------------------------- a lone array in every file it can be in

f32 1 0 0 2 0 0 3 4 >a.raw
npy a.npy '<f4' '(2, 4)' <a.raw
echo '[[1,0,0,2],[0,0,3,4]]' >a.json
as_raw='--from raw --raw-dtype f32 --shape 2,4'
# shellcheck disable=SC2086 # options
run convert $as_raw a.raw -o raw.s24 -q
expect_status 0
run convert raw.s24 -o back.raw -q
expect_same back.raw a.raw
for from in npy json; do
    run convert a.$from -o $from.s24 -q
    expect_status 0
    for to in npy raw json; do
        run convert $from.s24 -o "back.$to" -q -f
        expect_status 0
        [ $from = json ] || [ $to = json ] || expect_same "back.$to" a.$to # a JSON number is an f64
        [ $to != json ] || grep -F -q '[[1,0,0,2],[0,0,3,4]]' back.json || fail "expected the numbers: $(cat back.json)"
        # shellcheck disable=SC2002 # a pipe is what is tried
        cat $from.s24 | "$S24" convert - --to $to -o - -q >piped || fail "$from to $to in pipes"
        expect_same piped "back.$to"
    done
done
f32 1 2 3 4 1 2 3 4 0 0 0 0 0 0 0 0 | npy columns.npy '<f4' '(4, 4)'
run convert columns.npy -o columns.s24
expect_status 5
run convert columns.npy --axis 0 -o columns.s24 -q
expect_status 0
run convert columns.s24 -o columns2.npy -q
expect_same columns.npy columns2.npy
f32 1 2 3 0 | npy no.npy '<f4' '(1, 4)'
run convert no.npy -o no.s24
expect_status 5
expect_error 'no.npy: no tensor is 2:4'

# ---------------------------------------------------------------- dense to dense: nothing but the file changes

run convert m.safetensors -o m.npz -q
expect_status 0
run convert m.npz -o npz.safetensors -v
expect_status 0
expect_same_data npz.safetensors m.safetensors 78
run inspect npz.safetensors
expect_stdout_has 'i64'
expect_stdout_has '0x4'
# shellcheck disable=SC2002
cat m.npz | "$S24" convert - --to safetensors -o - -q >piped.safetensors || fail "an .npz in a pipe"
expect_same piped.safetensors npz.safetensors
# shellcheck disable=SC2002
cat m.npz | "$S24" convert - -o npz.s24 -q || fail "an .npz in a pipe, to be packed"
run convert m.npz -o npz2.s24 -q
expect_same npz.s24 npz2.s24
run convert npz.s24 -o npz2.safetensors -q
expect_same_data npz2.safetensors plain.safetensors 78
run convert m.safetensors -o no.json
expect_status 3
expect_error 'flag: JSON has no numbers of bool'
expect_no_file no.json
run convert m.safetensors -o no.npy
expect_status 2
expect_error '6 tensors do not fit a .npy file'

# ---------------------------------------------------------------- layouts of other tools

noise 4096 | safetensors h.safetensors '{"h.weight":{"dtype":"F16","shape":[32,64],"data_offsets":[0,4096]}}'
{ noise 4096; noise 2048; f32 1 2 3 4 4 3 2 1; printf '\007\000\000\000\000\000\000\000'; } |
    safetensors w.safetensors '{"__metadata__":{"mine":"kept"},"h.weight":{"dtype":"F16","shape":[32,64],"data_offsets":[0,4096]},"i.weight":{"dtype":"I8","shape":[16,128],"data_offsets":[4096,6144]},"a.weight":{"dtype":"F32","shape":[2,4],"data_offsets":[6144,6176]},"id":{"dtype":"I64","shape":[],"data_offsets":[6176,6184]}}'
run prune w.safetensors --to same -o w.dense.safetensors -q
expect_status 0
run convert w.dense.safetensors -o w.s24 -q
expect_status 0
run convert w.s24 -o w.back.safetensors -q
expect_same_data w.back.safetensors w.dense.safetensors 6184
for layout in sparse-24-bitmask cutlass; do
    run convert w.s24 --to $layout -o $layout.safetensors -v
    expect_status 0
    run convert w.dense.safetensors --to $layout -o $layout.2.safetensors -q
    expect_status 0
    expect_same $layout.safetensors $layout.2.safetensors
    for from in w.s24 w.dense.safetensors; do
        "$S24" convert - --to $layout -o - -q <$from | cat >piped.safetensors || fail "$from to $layout"
        expect_same piped.safetensors $layout.safetensors
        # shellcheck disable=SC2002
        cat $from | "$S24" convert - --to $layout -o - -q | cat >piped.safetensors || fail "$from to $layout in pipes"
        expect_same piped.safetensors $layout.safetensors
    done
    size=$(size_of $layout.safetensors)
    [ "$size" -lt "$(size_of w.dense.safetensors)" ] || fail "expected $layout to be smaller than dense"
    ! grep -q semi_structured w.back.safetensors || fail "a dense file is not marked"

    # it is what it stands for, to every command
    run convert $layout.safetensors -o x.s24 -q -f
    expect_status 0
    run stats x.s24 --original $layout.safetensors --json
    expect_status 0
    expect_stdout_has '"pruned_count":2052,"total_count":4104,"approximation_error":0,'
    # shellcheck disable=SC2002
    cat $layout.safetensors | "$S24" convert - -o - -q >piped.s24 || fail "$layout to .s24 in pipes"
    expect_same piped.s24 x.s24
    run convert $layout.safetensors --to safetensors -o x.safetensors -q -f
    expect_status 0
    run decompress x.s24 -o y.safetensors -q -f
    expect_same x.safetensors y.safetensors
    run verify $layout.safetensors
    expect_status 0
    run verify x.safetensors
    expect_status 0
    run inspect $layout.safetensors
    expect_stdout_has '4 tensors, 3 eligible'
    expect_stdout_lacks compressed
    expect_stdout_lacks packed
    run stats $layout.safetensors --json
    expect_status 0
    expect_stdout_has '"name":"h.weight"'
    run prune $layout.safetensors -o p.s24 -q -f
    expect_status 0
    run convert p.s24 -o y.safetensors -q -f
    expect_same x.safetensors y.safetensors
    run prune $layout.safetensors --to same -o y.safetensors -q -f
    expect_same x.safetensors y.safetensors
    run convert x.safetensors --to $layout -o again.safetensors -q -f
    expect_status 0
    run convert again.safetensors --to safetensors -o y.safetensors -q -f
    expect_same x.safetensors y.safetensors
    run convert x.safetensors -o y.s24 -q -f
    run convert y.s24 -o y.npz -q -f
    expect_status 0
done
run inspect cutlass.safetensors
expect_stdout_has 32x64
# every order of tensors: what one layout writes, converted through the other, is the dense file again
run convert cutlass.safetensors --to sparse-24-bitmask -o both.safetensors -q
run convert both.safetensors --to safetensors -o both.dense.safetensors -q
run stats w.s24 --original both.dense.safetensors --json
expect_status 0
expect_stdout_has '"approximation_error":0,'

# what a layout cannot hold stays dense, and is told; figures are of what is packed
run convert w.s24 --to cutlass -o x.safetensors -f -v
expect_stderr_has 'f32: the hardware takes f16, bf16 and i8'
run convert w.s24 --to cutlass -o x.safetensors -f --json
expect_stdout_has '"name":"a.weight","dtype":"f32","stored_dtype":"f32","shape":[2,4],"axis":null,"status":"dense","reason":"f32: the hardware takes f16, bf16 and i8"'
grep -o '"totals": {[^}]*}' .stdout | head -n 1 >one
run convert w.dense.safetensors --to cutlass -o x.safetensors -f --json
grep -o '"totals": {[^}]*}' .stdout | head -n 1 >two
grep -q '"total_count":4096' two || fail "expected the totals of what is packed: $(cat two)"
grep -q '"total_count":4096' one || fail "expected the totals of what is packed: $(cat one)"
for what in bytes_stored total_count pruned_count; do
    [ "$(grep -o "\"$what\":[0-9]*" one)" = "$(grep -o "\"$what\":[0-9]*" two)" ] || fail "expected the same $what"
done
run convert columns.s24 --to sparse-24-bitmask -o x.safetensors -f -v
expect_status 5
expect_stderr_has 'sparse-24-bitmask has its groups along the last axis'

# ---------------------------------------------------------------- checkpoints

# ck DIRECTORY: two shards of what w.dense.safetensors is made of
ck()
{
    mkdir "$1"
    f32 1 0 0 2 0 0 3 4 | safetensors "$1/model-1.safetensors" '{"one.weight":{"dtype":"F32","shape":[2,4],"data_offsets":[0,32]}}'
    { f32 0 1 2 0 3 0 0 4; printf '\007\000\000\000\000\000\000\000'; } | safetensors "$1/model-2.safetensors" \
        '{"two.weight":{"dtype":"F32","shape":[2,4],"data_offsets":[0,32]},"id":{"dtype":"I64","shape":[],"data_offsets":[32,40]}}'
    echo '{"metadata":{"total_size":72},"weight_map":{"one.weight":"model-1.safetensors","two.weight":"model-2.safetensors","id":"model-2.safetensors"}}' \
        >"$1/model.safetensors.index.json"
    printf '{"rope_theta": 1e6,\n  "quantization_config": {"bits": 8}}\n' >"$1/config.json"
    echo words >"$1/vocabulary.txt"
}
ck ck
run convert ck --to safetensors -o same -q # what s24 writes, to compare with
expect_status 0
run convert ck -o packed -q
expect_status 0
expect_only packed config.json model-1.s24 model-2.s24 model.s24.index.json vocabulary.txt
expect_same ck/config.json packed/config.json
run convert packed --to sparse-24-bitmask -o bits -v
expect_status 0
expect_only bits config.json model-1.safetensors model-2.safetensors model.safetensors.index.json vocabulary.txt
grep -q '"sparsity_config"' bits/config.json || fail "expected the layout in config.json"
grep -q '"format": *"sparse-24-bitmask"' bits/config.json || fail "expected the layout's name in config.json"
grep -q '"rope_theta": 1e6,' bits/config.json || fail "expected the rest of config.json as it was"
grep -q '"one.bitmask": "model-1.safetensors"' bits/model.safetensors.index.json || fail "expected planes in the index"
! grep -q '"one.weight"' bits/model.safetensors.index.json || fail "expected no dense tensor in the index"
run convert ck --to sparse-24-bitmask -o bits2 -q
expect_status 0
diff -r bits bits2 >difference || fail "expected the same from .s24 and from dense: $(cat difference)"
run verify bits
expect_status 0
run convert bits -o packed2 -q
expect_status 0
diff -r packed packed2 >difference || fail "expected the same .s24 files: $(cat difference)"
run prune bits -o packed3 -q
expect_status 0
run decompress packed3 -o back -q
expect_status 0
diff -r same back >difference || fail "expected the dense checkpoint again: $(cat difference)"
run convert bits --to safetensors -o back2 -q
expect_status 0
diff -r same back2 >difference || fail "expected the dense checkpoint again: $(cat difference)"
run stats packed --original bits --json
expect_status 0
expect_stdout_has '"approximation_error":0,'
run convert ck -o whole.s24 -q
expect_status 0
run convert packed -o - --to safetensors -q
cp .stdout whole.safetensors
run convert whole.s24 -o whole2.safetensors -q
expect_same whole.safetensors whole2.safetensors
run convert bits -o - -q
cp .stdout piped.s24
run decompress piped.s24 -o whole2.safetensors -q -f
expect_same whole.safetensors whole2.safetensors
run convert ck -o x.npz -q
expect_status 0
run convert ck --to cutlass -o no
expect_status 5
expect_no_file no
run convert packed --to cutlass -o no
expect_status 5
expect_no_file no

# planes of one tensor in different shards, a shard of nothing but planes
mkdir torn
{ f32 1 2 3 4; f32 -1; } | safetensors torn/a.safetensors \
    '{"one.compressed":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"s":{"dtype":"F32","shape":[],"data_offsets":[16,20]}}'
{ printf '\002\000\000\000\000\000\000\000\004\000\000\000\000\000\000\000'; printf '\006\011'; } |
    safetensors torn/b.safetensors '{"two.shape":{"dtype":"I64","shape":[2,1],"data_offsets":[0,16]},"two.bitmask":{"dtype":"U8","shape":[2,1],"data_offsets":[16,18]}}'
{ f32 1 2 3 4; printf '\002\000\000\000\000\000\000\000\004\000\000\000\000\000\000\000'; printf '\011\014'; } |
    safetensors torn/c.safetensors '{"__metadata__":{"why":"more than the 256 bytes that tell which type a file is of"},"two.compressed":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"one.shape":{"dtype":"I64","shape":[2,1],"data_offsets":[16,32]},"one.bitmask":{"dtype":"U8","shape":[2,1],"data_offsets":[32,34]}}'
echo '{"weight_map":{"one.compressed":"a.safetensors","s":"a.safetensors","two.shape":"b.safetensors","two.bitmask":"b.safetensors","two.compressed":"c.safetensors","one.shape":"c.safetensors","one.bitmask":"c.safetensors"}}' \
    >torn/model.safetensors.index.json
run inspect torn
expect_status 0
expect_stdout_has '3 tensors, 2 eligible'
run verify torn
expect_status 0
run convert torn -o torn.s24 -q
expect_status 0
run convert torn.s24 -o torn.json -q
grep -F -q '[[1,0,0,2],[0,0,3,4]]' torn.json || fail "expected one.weight: $(cat torn.json)"
grep -F -q '[[0,1,2,0],[3,0,0,4]]' torn.json || fail "expected two.weight: $(cat torn.json)"
for to in safetensors s24 sparse-24-bitmask; do
    run convert torn --to $to -o torn-$to -q
    expect_status 0
    suffix=safetensors
    [ $to != s24 ] || suffix=s24
    expect_only torn-$to a.$suffix c.$suffix model.$suffix.index.json # nothing is left of b
    ! grep -q '"b\.' torn-$to/model.$suffix.index.json || fail "expected no line of a shard that is not written"
    run verify torn-$to
    expect_status 0
    run convert torn-$to --to json -o again.json -q -f
    expect_same torn.json again.json
done
run prune torn --to same -o torn-same -q
expect_status 0
diff -r torn-same torn-safetensors >difference || fail "expected pruning to change nothing: $(cat difference)"
for share in 1 2 3; do
    run prune torn -o torn-shared --shards $share/3 -q
done
run verify torn-shared
expect_status 0
mkdir fifos
cp torn/*.json fifos
if mkfifo fifos/a.safetensors fifos/b.safetensors fifos/c.safetensors; then # what comes once is held
    for shard in a b c; do
        cat torn/$shard.safetensors >fifos/$shard.safetensors &
    done
    run convert fifos --to json -o fifos.json -q
    expect_status 0
    expect_same fifos.json torn.json
    wait
fi
cp -r torn bad
sed -i 's/"two.bitmask":"b.safetensors",//' bad/model.safetensors.index.json
run inspect bad
expect_status 3
expect_error 'b.safetensors: tensor two.bitmask is in it, but not in the index'

# ---------------------------------------------------------------- usage

run convert m.safetensors
expect_usage_error convert 'give --output'
run convert m.safetensors -o x.pt
expect_usage_error convert 'x.pt' 'does not write that type'
run convert m.safetensors m.npz -o x.s24
expect_usage_error convert 'one too many'
run convert -o x.s24
expect_status 2
run convert m.safetensors -o x.s24 --to same
expect_usage_error convert "--to 'same'"
run convert m.safetensors -o x.s24 --to sparse-24-bitmas
expect_status 2
expect_error 'did you mean sparse-24-bitmask?'
run convert m.safetensors -o x.s24 --to cutlas
expect_status 2
expect_error 'did you mean cutlass?'
run convert m.s24 -o no.s24
expect_status 2
expect_error 'm.s24: is a .s24 file already; --to names another type'
expect_no_file no.s24
run convert packed -o no
expect_status 2
expect_error 'packed: is a .s24 file already'
expect_no_file no
for to in npz npy json raw; do
    run convert packed -o x --to $to
    expect_usage_error convert "--to $to" 'name one file'
done
run convert m.safetensors -o m.s24
expect_status 4
expect_error 'm.s24: exists already; -f replaces it'
expect_same m.s24 m2.s24
run convert ck -o packed
expect_status 4
expect_error 'exists already'
run convert ck -o packed -f -q
expect_status 0
diff -r packed packed2 >difference || fail "expected the same again: $(cat difference)"
for input in m.s24 m.safetensors; do
    cp $input before
    run convert $input -o $input --to safetensors -f
    expect_status 2
    expect_error "$input: is the input"
    expect_same $input before
done
ln -s m.safetensors link.safetensors
run convert m.safetensors -o link.safetensors -f
expect_status 2
expect_error 'is the input'
run convert ck -o ck --to safetensors -f
expect_status 2
expect_error 'is the input'
run convert nowhere.safetensors -o x.s24
expect_status 4
expect_error 'nowhere.safetensors'
head -c 20 m.s24 >cut.s24
run convert cut.s24 -o no.safetensors
expect_status 3
expect_no_file no.safetensors

# two outputs on standard output do not mix
run convert m.safetensors -o - --json
expect_status 0
cp .stdout piped.s24
expect_same piped.s24 m.s24
expect_stderr_has '"schema": "s24.stats/1"'

# inspect says in which layout, and in which file of a checkpoint, a tensor is
run inspect sparse-24-bitmask.safetensors --json
expect_stdout_has '"layout":"sparse-24-bitmask"'
