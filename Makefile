# s24: `make` builds build/s24, build/libs24.a and build/libs24.so. `make help` lists the targets.
#
# CC, CFLAGS, CPPFLAGS, LDFLAGS, LDLIBS are the user's and are kept; PREFIX and DESTDIR say where `make install` goes.
# V=1 shows the commands. Objects lie in a directory named by the compiler and its flags, so that builds with
# different flags never mix; the three results are always at the same place.

VERSION := $(shell sed -n 's/^.define S24_VERSION "\(.*\)"/\1/p' lib/s24.h)
SOVERSION := 0

CC ?= cc
CFLAGS ?= -O2 -g
PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig

comma := ,
WARN := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
# -ffp-contract=off: figures are the same on every machine, so no compiler may fuse what the source does not.
S24_CFLAGS := -std=c11 $(WARN) -fPIC -fvisibility=hidden -ffp-contract=off -pthread
S24_CPPFLAGS := -D_XOPEN_SOURCE=700 -D_FILE_OFFSET_BITS=64
# Against what a hostile file might find: checked libc calls (which need optimisation), stacks that notice, tables that
# cannot be overwritten. HARDEN= leaves it out. Sanitizers see more without it.
SANITIZE :=
HARDEN ?= -fstack-protector-strong -fstack-clash-protection $(if $(findstring -O0,$(CFLAGS)),,-U_FORTIFY_SOURCE \
    -D_FORTIFY_SOURCE=2)
HARDEN_LINK := $(if $(HARDEN),-Wl$(comma)-z$(comma)relro -Wl$(comma)-z$(comma)now)
ifneq ($(SANITIZE),)
HARDEN :=
endif
S24_LDLIBS := -lcjson -lz -lxxhash -lm -ldl

LIB_SRC := $(sort $(wildcard lib/*.c))
FORMATS_SRC := $(sort $(wildcard formats/*.c))
CLI_SRC := $(sort $(wildcard cli/*.c))
UNIT_SRC := $(sort $(wildcard tests/unit/*.c))
EXAMPLE_SRC := $(sort $(wildcard tests/examples/*.c))
FUZZ_SRC := $(sort $(wildcard tests/fuzz/*.c))
SCRIPTS := .ci/run $(shell grep -lE '^.!/bin/sh' -r tests 2>/dev/null)
MAN1 := $(sort $(wildcard man/*.1))
MAN3 := $(sort $(wildcard man/*.3))
MAN5 := $(sort $(wildcard man/*.5))

# Where the results go. The sanitized builds of the check-* targets have a directory of their own.
OUT := build
CONFIG := $(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) $(LDLIBS) $(S24_CFLAGS) $(S24_CPPFLAGS) $(HARDEN) $(SANITIZE)
OBJ := build/obj-$(shell printf '%s' '$(CONFIG)' | cksum | cut -d' ' -f1)

LIB_OBJ := $(LIB_SRC:%.c=$(OBJ)/%.o)
FORMATS_OBJ := $(FORMATS_SRC:%.c=$(OBJ)/%.o)
CLI_OBJ := $(CLI_SRC:%.c=$(OBJ)/%.o)
UNIT_BIN := $(UNIT_SRC:%.c=$(OBJ)/%)
EXAMPLE_BIN := $(EXAMPLE_SRC:%.c=$(OBJ)/%)

ifeq ($(V),1)
Q :=
else
Q := @
endif
say = $(if $(Q),@printf '  %-6s %s\n' '$(1)' '$(patsubst $(OBJ)/%,%,$@)')

COMPILE = $(CC) $(S24_CPPFLAGS) $(CPPFLAGS) $(S24_CFLAGS) $(HARDEN) $(CFLAGS) $(SANITIZE) -MMD -MP
LINK = $(CC) $(S24_CFLAGS) $(CFLAGS) $(SANITIZE) $(HARDEN_LINK) $(LDFLAGS)

all: $(OUT)/s24 $(OUT)/libs24.a $(OUT)/libs24.so

# Each layer sees only the headers of those below it: cli -> formats -> lib.
$(OBJ)/lib/%.o: INCLUDES := -Ilib
$(OBJ)/formats/%.o: INCLUDES := -Ilib -Iformats
$(OBJ)/cli/%.o: INCLUDES := -Ilib -Iformats -Icli
$(OBJ)/tests/%: INCLUDES := -Ilib -Iformats -Icli -Itests

$(OBJ)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(COMPILE) $(INCLUDES) -c -o $@ $<

# The results are copies of those of the flags in use.
$(OBJ)/libs24.a: $(LIB_OBJ) $(FORMATS_OBJ)
	$(call say,AR)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(OBJ)/libs24.so.$(VERSION): $(LIB_OBJ) $(FORMATS_OBJ)
	$(call say,LD)
	$(Q)$(LINK) -shared -Wl,-soname,libs24.so.$(SOVERSION) -o $@ $^ $(LDLIBS) $(S24_LDLIBS)

$(OBJ)/s24: $(CLI_OBJ) $(OBJ)/libs24.a
	$(call say,LD)
	$(Q)$(LINK) -pie -o $@ $^ $(LDLIBS) $(S24_LDLIBS)

$(OUT)/s24 $(OUT)/libs24.a: $(OUT)/%: $(OBJ)/% FORCE
	@mkdir -p $(OUT)
	@cmp -s $< $@ || cp -f $< $@

$(OUT)/libs24.so: $(OBJ)/libs24.so.$(VERSION) FORCE
	@mkdir -p $(OUT)
	@cmp -s $< $(OUT)/libs24.so.$(VERSION) || cp -f $< $(OUT)/libs24.so.$(VERSION)
	@ln -sf libs24.so.$(VERSION) $(OUT)/libs24.so.$(SOVERSION)
	@ln -sf libs24.so.$(VERSION) $(OUT)/libs24.so

FORCE:

# ---------------------------------------------------------------- tests

# One Check suite a file, linked with the static library so that it also reaches what is hidden.
$(OBJ)/tests/unit/%: tests/unit/%.c $(OBJ)/libs24.a
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(COMPILE) $(INCLUDES) -o $@ $< $(OBJ)/libs24.a $(LDFLAGS) $(LDLIBS) \
	    $$(pkg-config --cflags --libs check) $(S24_LDLIBS)

$(OBJ)/tests/examples/%: tests/examples/%.c $(OBJ)/libs24.a
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(COMPILE) $(INCLUDES) -o $@ $< $(OBJ)/libs24.a $(LDFLAGS) $(LDLIBS) $(S24_LDLIBS)

# Two at a time, each one's words together.
unit: $(UNIT_BIN)
	@printf '%s\n' $(UNIT_BIN) | xargs -n 1 -P 2 \
	    sh -c 'told=$$("$$0" 2>&1); failed=$$?; printf "%s\n" "$$told"; exit $$failed'

# CLI_TESTS='prune verify' chooses.
cli-tests: $(OUT)/s24
	@tests/cli/run $(OUT)/s24 $(CLI_TESTS)

# Against numpy, where it is installed; against the specification, with a decoder that shares no code.
oracle: $(OUT)/s24
	@tests/oracle/run $(OUT)/s24
	@tests/golden/run
	@python3 tests/oracle/flips.py $(OUT)/s24

# How accurate calibrated pruning is, and that it is what it should be; QUALITY_MODEL=the voice detector's safetensors: on
# its layers, too.
quality: $(OUT)/libs24.so $(OUT)/s24
	@tests/quality/run $(OUT)/libs24.so $(QUALITY_MODEL)

demo: $(OUT)/s24 $(OBJ)/tests/examples/digits
	@tests/examples/demo $(OUT)/s24 $(OBJ)/tests/examples/digits tests/data/digits

# The demo's figures are the reference of tests/data/digits/README.md.
demo-check: $(OUT)/s24 $(OBJ)/tests/examples/digits
	@tests/examples/demo $(OUT)/s24 $(OBJ)/tests/examples/digits tests/data/digits | grep -q '346 right' && echo 'demo: 346 right'

man-lint:
	@mandoc -T lint -W warning $(MAN1) $(MAN3) $(MAN5)

man-examples: all
	@for t in tests/man/*.sh; do $$t $(OUT) || exit 1; done

check test: all unit cli-tests oracle demo-check man-lint man-examples

# What the tests run, all of it: -j is for this, since tests have two processors busy by themselves.
programs: all $(UNIT_BIN) $(EXAMPLE_BIN)

SANITIZED = +$(MAKE) --no-print-directory OUT=build/$(1) SANITIZE='$(2)' $(or $(3),unit cli-tests demo-check)
BOTH := -fsanitize=address$(comma)undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
check-asan:
	$(call SANITIZED,asan,-fsanitize=address -fno-omit-frame-pointer)
check-ubsan:
	$(call SANITIZED,ubsan,-fsanitize=undefined -fno-sanitize-recover=undefined)
# Both at once, which takes half as long.
check-sanitized:
	$(call SANITIZED,sanitized,$(BOTH))
sanitized-programs:
	$(call SANITIZED,sanitized,$(BOTH),programs)
check-tsan:
	$(call SANITIZED,tsan,-fsanitize=thread)

# What reads or writes to a file memory that nobody set. The generic kernels only: clang's MemorySanitizer does not know
# the instructions of the others. Without test_faults, which has an allocator of its own, and matmul_bench, for what
# oneDNN does. tests/tools/msan.c tells of libraries that are not built with it.
MSAN := build/msan/msan.o
MSAN_SANITIZE := -fsanitize=memory -fsanitize-memory-track-origins -fno-omit-frame-pointer
MSAN_LINK := @tests/tools/msan.flags
check-msan: $(MSAN)
	+CK_TIMEOUT_MULTIPLIER=10 TEST_SECONDS=3000 $(MAKE) --no-print-directory OUT=build/msan CC=clang CFLAGS='-O1 -g' \
	    CPPFLAGS=-DS24_GENERIC SANITIZE='$(MSAN_SANITIZE)' LDFLAGS=$(MSAN_LINK) LDLIBS=$(MSAN) \
	    UNIT_SRC='$(filter-out %/test_faults.c,$(UNIT_SRC))' \
	    CLI_TESTS='$(filter-out matmul_bench,$(basename $(notdir $(wildcard tests/cli/*.t))))' all unit cli-tests demo-check
	@CC=clang CFLAGS='$(MSAN_SANITIZE) $(MSAN_LINK) $(MSAN)' tests/golden/run build/msan

$(MSAN): tests/tools/msan.c
	@mkdir -p $(@D)
	$(Q)clang $(S24_CPPFLAGS) -std=c11 $(WARN) -O1 -g $(MSAN_SANITIZE) -c -o $@ $<

# Everything for arm64, in an emulator. Not a part of `make test`.
check-arm64:
	@for t in aarch64-linux-gnu-gcc qemu-aarch64; do command -v $$t >/dev/null || \
	    { echo "check-arm64: there is no $$t; make deps-arm64 installs what is needed (Debian)" >&2; exit 1; }; done
	+@PKG_CONFIG_LIBDIR=/usr/lib/aarch64-linux-gnu/pkgconfig $(MAKE) --no-print-directory OUT=build/arm64 \
	    CC=aarch64-linux-gnu-gcc AR=aarch64-linux-gnu-ar emulated-tests

emulated-tests: $(OUT)/s24 $(UNIT_BIN)
	@tests/tools/emulated qemu-aarch64 $(OUT)/s24 $(UNIT_BIN)

# Includes run one way (the compiler sees to that: INCLUDES above), lib/ does no I/O, never ends the process and has no
# mutable globals, and the shared library shows what the public headers declare and nothing else.
check-layers: $(OUT)/libs24.so
	@tests/tools/layers $(OUT)/libs24.so $(LIB_OBJ)

# The hardening that the flags above ask for is in what they made.
check-hardening: $(OUT)/s24 $(OUT)/libs24.so
	@tests/tools/hardening $(OUT)/s24 $(OUT)/libs24.so

lint: man-lint
	@for cc in gcc clang; do command -v $$cc >/dev/null || continue; echo "  LINT   $$cc"; \
	    for layer in lib formats cli; do case $$layer in lib) i=-Ilib;; formats) i='-Ilib -Iformats';; \
	    *) i='-Ilib -Iformats -Icli';; esac; \
	    $$cc $(S24_CPPFLAGS) $(S24_CFLAGS) -O2 -Werror -fsyntax-only $$i $$layer/*.c || exit 1; done; \
	    $$cc $(S24_CPPFLAGS) $(S24_CFLAGS) -O2 -Werror -fsyntax-only -Ilib -Iformats -Icli -Itests $(UNIT_SRC) \
	    $(EXAMPLE_SRC) $(FUZZ_SRC) $(BENCH_SRC) $(TRUST_SRC) || exit 1; done
	@echo '  LINT   cppcheck'; cppcheck -q --std=c11 --enable=warning,portability,performance --inline-suppr \
	    --suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches --error-exitcode=1 -Ilib -Iformats -Icli \
	    lib formats cli
	@echo '  LINT   shellcheck'; shellcheck $(SCRIPTS)

# Slower than what lint has: minutes.
analyze:
	@tests/tools/analyze $(S24_CPPFLAGS) $(filter-out $(WARN),$(S24_CFLAGS))

# Measures, never tests. BENCH_PARTS='files matmul' chooses; tests/bench/run says what can be set.
BENCH_SRC := $(sort $(wildcard tests/bench/*.c))
BENCH_BIN := $(BENCH_SRC:%.c=$(OBJ)/%)

# Linked as the unit tests are: some measure what is hidden.
$(OBJ)/tests/bench/%: tests/bench/%.c $(OBJ)/libs24.a
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(COMPILE) $(INCLUDES) -o $@ $< $(OBJ)/libs24.a $(LDFLAGS) $(LDLIBS) $(S24_LDLIBS)

bench: $(OUT)/s24 $(BENCH_BIN)
	@CC='$(CC)' tests/bench/run $(OUT)/s24 $(OBJ)/tests/bench $(OUT)/bench/results

# libFuzzer, with clang: FUZZ_TIME seconds a target; FUZZ_TARGETS='npy json' chooses.
FUZZ_TIME := 10
FUZZ_TARGETS := $(FUZZ_SRC:tests/fuzz/fuzz_%.c=%)
FUZZ_BIN := $(FUZZ_TARGETS:%=$(OBJ)/tests/fuzz/fuzz_%)

# The command without its main, for what reaches into it.
$(OBJ)/libcli.a: $(filter-out %/main.o,$(CLI_OBJ))
	$(call say,AR)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(OBJ)/tests/fuzz/%: tests/fuzz/%.c $(OBJ)/libcli.a $(OBJ)/libs24.a
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(COMPILE) -fsanitize=fuzzer $(INCLUDES) -o $@ $< $(OBJ)/libcli.a $(OBJ)/libs24.a $(LDFLAGS) $(LDLIBS) $(S24_LDLIBS)

# Sanitized products take half of the build's time, and no target multiplies.
ifneq ($(findstring fuzzer,$(SANITIZE)),)
$(OBJ)/lib/matmul%.o: SANITIZE :=
endif

fuzz-targets: $(FUZZ_BIN)
	@tests/tools/fuzz '$(FUZZ_TIME)' $(FUZZ_BIN)

# A trace of every comparison, which libFuzzer would learn words from, takes a third of the time: the words are in the
# dictionaries, and in as many runs as much is reached without.
FUZZ_SANITIZE := -fsanitize=fuzzer-no-link$(comma)address$(comma)undefined -fno-sanitize-recover=undefined \
    -fno-sanitize-coverage=trace-cmp
fuzz:
	+@$(MAKE) --no-print-directory CC=clang CFLAGS='-O2 -g' FUZZ_TARGETS='$(FUZZ_TARGETS)' FUZZ_TIME='$(FUZZ_TIME)' \
	    SANITIZE='$(FUZZ_SANITIZE)' fuzz-targets

# Long trials of what is promised, with figures; not a part of `make test`. Each prints what it did, and fails if a promise is
# broken. 1 TiB takes an hour or more.
TRUST_SRC := $(sort $(wildcard tests/trust/*.c))
TRUST_DAMAGES := 1000000
TRUST_KILLS := 2000
TRUST_MATRICES := 1000000
TRUST_GIB := 1024
TRUST_SOURCES := $(filter-out %_write.c,$(wildcard formats/archive_*.c)) formats/plain_read.c
TRUST_CHANGES := 100
TRUST_SEED := 24

$(OBJ)/tests/trust/%: tests/trust/%.c $(OBJ)/libs24.a
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(COMPILE) $(INCLUDES) -o $@ $< $(OBJ)/libs24.a $(LDFLAGS) $(LDLIBS) $(S24_LDLIBS)

trust-damage: $(OBJ)/tests/trust/damage
	@$(OBJ)/tests/trust/damage $(TRUST_DAMAGES)
trust-kills: $(OUT)/s24
	@python3 tests/trust/kills.py $(OUT)/s24 $(TRUST_KILLS)
trust-crowd: $(OUT)/s24
	@python3 tests/trust/crowd.py $(OUT)/s24
trust-soak: $(OUT)/s24
	@python3 tests/trust/soak.py $(OUT)/s24 $(TRUST_GIB)
trust-differ: $(OUT)/s24
	@/usr/bin/python3 tests/trust/differ.py $(OUT)/s24 $(TRUST_MATRICES)
# Changes to a source file that the tests do not see; not a part of `trust`, since a reader has to tell what they mean.
trust-mutate: $(OUT)/s24
	@for f in $(TRUST_SOURCES); do python3 tests/trust/mutate.py '$(COMPILE)' '$(LDFLAGS) $(LDLIBS) $(S24_LDLIBS)' \
	    $(OBJ) $$f $(TRUST_CHANGES) $(TRUST_SEED) || exit 1; done
trust: trust-damage trust-differ trust-kills trust-crowd trust-soak

# lcov's figures of lib and formats, from all tests. -O1: else templates have a branch for each of their constants;
# -fno-inline: else a function has its branches once for each caller. Limits of time are for code that is not watched.
# full_disk, permission and signals forbid s24 to write, and so what gcov counts: they fail here.
coverage:
	+CK_TIMEOUT_MULTIPLIER=20 TEST_SECONDS=3000 $(MAKE) --no-print-directory OUT=build/coverage CFLAGS='-O1 -fno-inline -g --coverage' HARDEN= \
	    CLI_TESTS='$(filter-out full_disk permission signals,$(basename $(notdir $(wildcard tests/cli/*.t))))' coverage-run

coverage-run: all $(UNIT_BIN)
	@find $(OBJ) -name '*.gcda' -delete
	+@$(MAKE) --no-print-directory unit cli-tests
	@tests/oracle/run $(OUT)/s24
	@CC='$(CC)' CFLAGS=--coverage tests/golden/run $(OUT)
	@tests/tools/coverage $(OBJ) $(OUT)/lcov.info

# ---------------------------------------------------------------- what the project needs, on Debian

DEPS := gcc libc6-dev make pkg-config libcjson-dev zlib1g-dev libxxhash-dev check mandoc python3-numpy libopenblas0-pthread \
    clang cppcheck shellcheck parallel

deps:
	@tests/tools/deps $(DEPS)

DEPS_ARM64 := gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user \
    $(addsuffix :arm64,libcjson-dev zlib1g-dev libxxhash-dev check)

deps-arm64:
	@tests/tools/deps --arch arm64 $(DEPS_ARM64)

# ---------------------------------------------------------------- installing

install: all
	install -d '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(LIBDIR)' '$(DESTDIR)$(INCLUDEDIR)' '$(DESTDIR)$(PKGCONFIGDIR)' \
	    '$(DESTDIR)$(MANDIR)/man1' '$(DESTDIR)$(MANDIR)/man3' '$(DESTDIR)$(MANDIR)/man5'
	install -m 755 $(OUT)/s24 '$(DESTDIR)$(BINDIR)/s24'
	install -m 644 $(OUT)/libs24.a '$(DESTDIR)$(LIBDIR)/libs24.a'
	install -m 755 $(OUT)/libs24.so.$(VERSION) '$(DESTDIR)$(LIBDIR)/libs24.so.$(VERSION)'
	ln -sf libs24.so.$(VERSION) '$(DESTDIR)$(LIBDIR)/libs24.so.$(SOVERSION)'
	ln -sf libs24.so.$(VERSION) '$(DESTDIR)$(LIBDIR)/libs24.so'
	install -m 644 lib/s24.h formats/s24io.h '$(DESTDIR)$(INCLUDEDIR)'
	install -m 644 $(MAN1) '$(DESTDIR)$(MANDIR)/man1'
	install -m 644 $(MAN3) '$(DESTDIR)$(MANDIR)/man3'
	install -m 644 $(MAN5) '$(DESTDIR)$(MANDIR)/man5'
	install -d '$(DESTDIR)$(BASHDIR)' '$(DESTDIR)$(ZSHDIR)' '$(DESTDIR)$(FISHDIR)'
	$(OUT)/s24 completion bash >'$(DESTDIR)$(BASHDIR)/s24'
	$(OUT)/s24 completion zsh >'$(DESTDIR)$(ZSHDIR)/_s24'
	$(OUT)/s24 completion fish >'$(DESTDIR)$(FISHDIR)/s24.fish'
	@printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$(LIBDIR)' 'includedir=$(INCLUDEDIR)' '' 'Name: s24' \
	    'Description: 2:4 structured sparsity: pruning, storage, products' 'Version: $(VERSION)' \
	    'Libs: -L$${libdir} -ls24' 'Libs.private: $(S24_LDLIBS) -pthread' 'Cflags: -I$${includedir}' \
	    >'$(DESTDIR)$(PKGCONFIGDIR)/s24.pc'

uninstall:
	rm -f '$(DESTDIR)$(BINDIR)/s24' '$(DESTDIR)$(LIBDIR)'/libs24.* '$(DESTDIR)$(PKGCONFIGDIR)/s24.pc' \
	    '$(DESTDIR)$(INCLUDEDIR)/s24.h' '$(DESTDIR)$(INCLUDEDIR)/s24io.h' \
	    '$(DESTDIR)$(BASHDIR)/s24' '$(DESTDIR)$(ZSHDIR)/_s24' '$(DESTDIR)$(FISHDIR)/s24.fish' \
	    $(MAN1:man/%='$(DESTDIR)$(MANDIR)/man1/%') $(MAN3:man/%='$(DESTDIR)$(MANDIR)/man3/%') \
	    $(MAN5:man/%='$(DESTDIR)$(MANDIR)/man5/%')

# Installs into a directory of its own, builds the example against that, static and shared, and uninstalls again.
installcheck: all
	@tests/tools/installcheck '$(MAKE)' '$(CC)'

dist:
	@mkdir -p build
	git archive --prefix=s24-$(VERSION)/ -o build/s24-$(VERSION).tar.gz HEAD

help:
	@echo 'make                 build/s24, build/libs24.a, build/libs24.so'
	@echo 'make deps            install what building and testing need (Debian, apt-get)'
	@echo 'make demo            prune a trained network, show what it cost, run it'
	@echo 'make test            all tests (= check); check-asan check-ubsan check-sanitized (both) check-tsan check-msan'
	@echo 'make check-arm64     the tests as arm64 code, in an emulator; deps-arm64: install what that needs'
	@echo 'make check-layers    the architecture; check-hardening; lint: compilers, cppcheck, shellcheck, mandoc; analyze'
	@echo 'make quality         the accuracy of calibrated pruning, by layer and method'
	@echo 'make bench           measure, into build/bench/results.txt; coverage'
	@echo 'make fuzz            libFuzzer, with clang: FUZZ_TIME=seconds a target, FUZZ_TARGETS="npy json"'
	@echo 'make trust           long trials: damaged files, kills, many at once, a soak of 1 TiB'
	@echo 'make trust-mutate    changes to TRUST_SOURCES, of each TRUST_CHANGES, that no test sees'
	@echo 'make install         PREFIX=/usr/local DESTDIR=; uninstall, installcheck'
	@echo 'make dist clean'

clean:
	rm -rf build

.PHONY: all programs sanitized-programs unit cli-tests oracle quality demo demo-check man-lint man-examples check test \
    check-asan check-ubsan check-sanitized check-tsan check-msan check-arm64 emulated-tests check-layers \
    check-hardening lint analyze bench fuzz fuzz-targets trust trust-damage trust-differ trust-kills trust-crowd \
    trust-soak trust-mutate coverage coverage-run deps deps-arm64 install uninstall installcheck dist help clean FORCE
.DELETE_ON_ERROR:
-include $(LIB_OBJ:.o=.d) $(FORMATS_OBJ:.o=.d) $(CLI_OBJ:.o=.d) $(UNIT_BIN:=.d) $(EXAMPLE_BIN:=.d) $(BENCH_BIN:=.d) \
    $(FUZZ_BIN:=.d)
