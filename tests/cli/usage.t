# Every error in the use of the command line: status 2, one line, where the help is, and nothing written.
. "$LIB"

echo '[[1,2,3,4]]' >w.json
echo '[[1,2,3,4]]' >v.json

run --no-such
expect_usage_error '' 'unknown option --no-such'
run -Z
expect_usage_error '' 'unknown option -Z'
run frobnicate
expect_usage_error '' "unknown command 'frobnicate'"
run help frobnicate
expect_usage_error '' "unknown command 'frobnicate'"

# operands
for command in prune decompress stats inspect verify completion; do
    run $command
    expect_usage_error $command 'is missing'
done
run decompress a.s24 b.s24
expect_usage_error decompress "'b.s24'"
run matmul-bench a.s24 b.s24
expect_usage_error matmul-bench "'b.s24'"
run completion bash zsh
expect_usage_error completion "'zsh'"
run completion tcsh
expect_usage_error completion "'tcsh'"
run help prune stats
expect_usage_error help "'stats'"

# options
run prune w.json --no-such
expect_usage_error prune 'unknown option --no-such'
run prune w.json -Z
expect_usage_error prune 'unknown option -Z'
run prune w.json -nZ
expect_usage_error prune 'unknown option -Z'
run prune w.json -o
expect_usage_error prune '--output needs a value'
run prune w.json --method
expect_usage_error prune '--method needs a value'
run prune w.json --force=yes
expect_usage_error prune '--force takes no value'
run prune w.json --forc
expect_usage_error prune 'unknown option --forc' 'did you mean --force?'

# values: numbers
for value in x -1 1.5 '' ' 1' 1x 0x10 99999999999999999999; do
    run prune w.json --threads="$value"
    expect_usage_error prune --threads
    run prune w.json --offset="$value"
    expect_usage_error prune --offset
done
run prune w.json -T 100000
expect_usage_error prune --threads

# values: words
run prune w.json --method magnitud
expect_usage_error prune '--method' 'did you mean magnitude?'
run prune w.json --method zzzzzzz
expect_usage_error prune '--method' 'magnitude gradient'
for option in --color --progress --isa; do
    run prune w.json $option=sideways
    expect_usage_error prune "$option"
done
run prune w.json --progress=always
expect_usage_error prune --progress
run prune w.json --to onnx
expect_usage_error prune --to
run prune w.json --from pickle
expect_usage_error prune --from
run prune w.json --dtype f17
expect_usage_error prune --dtype 'did you mean f1'
run prune w.json --dtype i64
expect_usage_error prune --dtype
run prune w.json --raw-dtype same
expect_usage_error prune --raw-dtype
run prune w.json --endian middle
expect_usage_error prune --endian
run decompress w.s24 --to s24
expect_usage_error decompress --to
run stats w.s24 --sort colour
expect_usage_error stats --sort
run matmul-bench --dtype f64
expect_usage_error matmul-bench --dtype
run matmul-bench --baseline mkl
expect_usage_error matmul-bench --baseline

# values: lists and rules
for value in x ',' '4,' ',4' '4,,4' 4x4 -4 '4, 4'; do
    run prune w.json --shape="$value"
    expect_usage_error prune --shape
done
run prune w.json --shape "$(printf '1,%.0s' $(seq 64))1"
expect_usage_error prune --shape 64
for value in x '' = a= =x a=b 1.0 -0 -x 1000; do
    run prune w.json --axis="$value"
    expect_usage_error prune --axis
done
for value in 0 -1 x '' '1,' '1,0'; do
    run matmul-bench --n="$value"
    expect_usage_error matmul-bench --n
    run matmul-bench --m="$value"
    expect_usage_error matmul-bench --m
done
run matmul-bench --m=1,2
expect_usage_error matmul-bench --m
for value in relative_error 'relative_error>' 'relative_error>x' 'relative_error=0.4' '>0.4' 'relative_error>nan' \
    'relative_error>0.4x' ''; do
    run stats w.s24 --fail-if "$value"
    expect_usage_error stats --fail-if
done
run stats w.s24 --fail-if 'relative_eror>0.4'
expect_usage_error stats 'relative_eror' 'did you mean relative_error?'

# what does not go together
run prune w.json --method gradient
expect_usage_error prune '--gradients'
run prune w.json --method magnitude --gradients v.json
expect_usage_error prune '--method gradient'
run prune w.json v.json --method gradient --gradients v.json
expect_usage_error prune '--gradients'
run prune w.json v.json -o -
expect_usage_error prune 'directory'
run prune w.json v.json -o v.json
expect_usage_error prune 'directory'
run prune - w.json
expect_usage_error prune 'standard input'
run prune w.json --to same
expect_usage_error prune '--output'
mkdir a b
cp w.json a
cp w.json b
run prune a/w.json b/w.json -o out
expect_usage_error prune a/w.json b/w.json out/w.s24
expect_no_file out
run prune w.json -o w.onnx
expect_usage_error prune w.onnx
run decompress w.s24 -o w.pt
expect_usage_error decompress w.pt
run stats --json --tsv w.s24
expect_usage_error stats --json
run stats a.s24 b.s24 --original w.json
expect_usage_error stats --original
run matmul-bench w.s24 --m 4
expect_usage_error matmul-bench --m
run matmul-bench --tensor w
expect_usage_error matmul-bench --tensor
run matmul-bench --reps 0
expect_usage_error matmul-bench --reps

run calibrate w.json
expect_usage_error '' "unknown command 'calibrate'"

expect_only . a b w.json v.json
