# Samples (lib.sh says what they are) as a table, or with -v form=json as JSON. Lines of two fields are of the machine.

function sort(list, n,    i, j, x) {
    for (i = 2; i <= n; i++) {
        x = list[i]
        for (j = i - 1; j > 0 && list[j] > x; j--) list[j + 1] = list[j]
        list[j + 1] = x
    }
}

# least, median and greatest of the n values of a key, into low, mid and high
function spread(values, key, n,    i) {
    for (i = 1; i <= n; i++) sorted[i] = values[key, i]
    sort(sorted, n)
    low = sorted[1]
    high = sorted[n]
    mid = n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
}

function quoted(s) {
    gsub(/\\/, "\\\\", s)
    gsub(/"/, "\\\"", s)
    gsub(/[\001-\037]/, " ", s)
    return "\"" s "\""
}

function json_spread(name) {
    return sprintf("\"%s\": {\"min\": %.6g, \"median\": %.6g, \"max\": %.6g}", name, low, mid, high)
}

function part_index(name) {
    if (!(name in part_of)) {
        part_of[name] = ++parts
        part_names[parts] = name
    }
    return part_of[name]
}

BEGIN {
    FS = "\t"
}

NF == 2 {
    machine[++machines] = $1
    says[machines] = $2
}

$1 == "#" && NF > 2 {
    p = part_index($2)
    notes[p, ++note_count[p]] = $3
}

$1 == "=" && NF > 2 {
    p = part_index($2)
    lines[p, ++line_count[p]] = $3
}

NF == 5 {
    p = part_index($1)
    key = p SUBSEP $2
    if (!(key in units)) {
        units[key] = $4
        bases[key] = $3
        cases[p, ++case_count[p]] = $2
    }
    values[key, ++count[key]] = $5 + 0
    base = p SUBSEP $3
    if ($3 != "-" && count[base]) ratios[key, ++ratio_count[key]] = $5 / values[base, count[base]]
}

function text(    m, p, i, key, wide) {
    for (m = 1; m <= machines; m++) printf "%-12s %s\n", machine[m], says[m]
    for (p = 1; p <= parts; p++) {
        printf "\n%s\n", part_names[p]
        for (i = 1; i <= note_count[p]; i++) print "  " notes[p, i]
        for (i = 1; i <= line_count[p]; i++) print "  " lines[p, i]
        wide = 0
        for (i = 1; i <= case_count[p]; i++) if (length(cases[p, i]) > wide) wide = length(cases[p, i])
        for (i = 1; i <= case_count[p]; i++) {
            key = p SUBSEP cases[p, i]
            spread(values, key, count[key])
            printf "  %-" wide "s  %9.4g %s", cases[p, i], mid, (units[key] == "1" ? " " : units[key])
            printf " (%.4g to %.4g)", low, high
            if (ratio_count[key]) {
                spread(ratios, key, ratio_count[key])
                printf "  %.3g of %s (%.3g to %.3g)", mid, bases[key], low, high
            }
            print ""
        }
    }
}

function json(    m, p, i, key) {
    printf "{\"schema\": \"s24.bench/1\",\n \"machine\": {"
    for (m = 1; m <= machines; m++) printf "%s%s: %s", (m > 1 ? ", " : ""), quoted(machine[m]), quoted(says[m])
    printf "},\n \"parts\": ["
    for (p = 1; p <= parts; p++) {
        printf "%s\n  {\"part\": %s, \"notes\": [", (p > 1 ? "," : ""), quoted(part_names[p])
        for (i = 1; i <= note_count[p]; i++) printf "%s%s", (i > 1 ? ", " : ""), quoted(notes[p, i])
        printf "], \"lines\": ["
        for (i = 1; i <= line_count[p]; i++) printf "%s%s", (i > 1 ? ", " : ""), quoted(lines[p, i])
        printf "], \"cases\": ["
        for (i = 1; i <= case_count[p]; i++) {
            key = p SUBSEP cases[p, i]
            spread(values, key, count[key])
            printf "%s\n   {\"case\": %s, \"unit\": %s, ", (i > 1 ? "," : ""), quoted(cases[p, i]), quoted(units[key])
            printf "\"count\": %d, %s", count[key], json_spread("value")
            if (ratio_count[key]) {
                spread(ratios, key, ratio_count[key])
                printf ", \"of\": %s, %s", quoted(bases[key]), json_spread("ratio")
            }
            printf "}"
        }
        printf "]}"
    }
    print "]}"
}

END {
    if (form == "json") json()
    else text()
}
