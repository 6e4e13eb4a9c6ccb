# What was mistyped gets a suggestion; what resembles nothing gets none.
. "$LIB"

meant()
{
    expect_status 2
    expect_error "did you mean $1?"
}

for word in prun prnue rpune prune1 pruen Prune; do
    run $word
    meant prune
done
run decompres
meant decompress
run stat
meant stats
run matmul_bench
meant matmul-bench
run matmul
meant matmul-bench
run verfy
meant verify
run insepct
meant inspect

run prune --ouput x
meant --output
run prune --outptu=x
meant --output
run prune --gradient x
meant --gradients
run --theads 2
meant --threads
run stats --fail_if x
meant --fail-if
run matmul-bench -n 1
meant --n

for word in x zzz frobnicate; do
    run $word
    expect_status 2
    expect_stderr_lacks 'did you mean'
    run prune --$word
    expect_status 2
    expect_stderr_lacks 'did you mean'
done

# names of tensors
run prune "$digits/digits.safetensors" -o d.s24 -q
expect_status 0
run decompress d.s24 --tensor fc1.wieght -o x.npy
meant fc1.weight
run decompress d.s24 --tensor nothing -o x.npy
expect_status 2
expect_error nothing
expect_stderr_lacks 'did you mean'
run matmul-bench d.s24 --tensor fc1.wieght
meant fc1.weight
expect_only . d.s24
