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
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig

WARN := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
# -ffp-contract=off: figures are the same on every machine, so no compiler may fuse what the source does not.
S24_CFLAGS := -std=c11 $(WARN) -fPIC -fvisibility=hidden -ffp-contract=off -pthread
S24_CPPFLAGS := -D_XOPEN_SOURCE=700 -D_FILE_OFFSET_BITS=64
S24_LDLIBS := -lcjson -lz -lxxhash -lm -ldl

LIB_SRC := $(sort $(wildcard lib/*.c))
FORMATS_SRC := $(sort $(wildcard formats/*.c))
CLI_SRC := $(sort $(wildcard cli/*.c))
UNIT_SRC := $(sort $(wildcard tests/unit/*.c))
EXAMPLE_SRC := $(sort $(wildcard tests/examples/*.c))

CONFIG := $(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) $(LDLIBS) $(S24_CFLAGS) $(S24_CPPFLAGS) $(SANITIZE)
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

COMPILE = $(CC) $(S24_CPPFLAGS) $(CPPFLAGS) $(S24_CFLAGS) $(CFLAGS) $(SANITIZE) -MMD -MP
LINK = $(CC) $(S24_CFLAGS) $(CFLAGS) $(SANITIZE) $(LDFLAGS)

all: build/s24 build/libs24.a build/libs24.so

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
	$(Q)$(LINK) -o $@ $^ $(LDLIBS) $(S24_LDLIBS)

build/s24 build/libs24.a: build/%: $(OBJ)/% FORCE
	@cmp -s $< $@ || cp -f $< $@

build/libs24.so: $(OBJ)/libs24.so.$(VERSION) FORCE
	@cmp -s $< build/libs24.so.$(VERSION) || cp -f $< build/libs24.so.$(VERSION)
	@ln -sf libs24.so.$(VERSION) build/libs24.so.$(SOVERSION)
	@ln -sf libs24.so.$(VERSION) build/libs24.so

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

unit: $(UNIT_BIN)
	@for t in $(UNIT_BIN); do $$t || exit 1; done

clean:
	rm -rf build

.PHONY: all unit clean FORCE
.DELETE_ON_ERROR:
-include $(LIB_OBJ:.o=.d) $(FORMATS_OBJ:.o=.d) $(CLI_OBJ:.o=.d) $(UNIT_BIN:=.d) $(EXAMPLE_BIN:=.d)
