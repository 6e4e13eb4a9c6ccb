/*
 * Zip archives: which members there are and where their bytes lie, the bytes of one, and the records of an archive being
 * written. The subset that numpy uses: stored or deflated members, zip64, one disk. (APPNOTE.TXT 6.3.10 is the format.)
 *
 * Only the central directory is believed. Of a local header nothing counts but its lengths and its name, which must be
 * the directory's: what is written to a pipe has no sizes there. Every byte of a member is checked against the
 * directory's size and CRC by the time its last one has been read.
 */
#ifndef S24_FORMATS_ZIP_H
#define S24_FORMATS_ZIP_H

#include "io.h"
#include "textbuf.h"

#define S24_ZIP_STORED 0
#define S24_ZIP_DEFLATED 8

#define S24_ZIP_DESCRIPTOR 0x8 /* flag: CRC and sizes follow the data, as in what a pipe was given */
#define S24_ZIP_UTF8 0x800     /* flag: the name is not ASCII */

#define S24_ZIP_CRC_AT 14      /* of a local header: where its CRC is, for who knows it later */

typedef struct s24_zip_entry {
    char *name;
    unsigned flags, method;
    uint32_t crc;
    uint64_t compressed, size; /* of the member's bytes, in the archive and by themselves */
    uint64_t header, data;     /* offsets of the local header and of the bytes */
} s24_zip_entry;

typedef struct s24_zip {
    s24_zip_entry *entries; /* in the directory's order */
    size_t count;
    uint64_t directory;     /* its offset: members lie before it */
} s24_zip;

/* Reads the directory; every name is UTF-8 that s24_zip_name_fault has nothing against. Freed also on failure. */
s24_status s24_zip_read(s24_zip *zip, s24_input *in, s24_error *err);
void s24_zip_free(s24_zip *zip);

/*
 * Sets every entry's data. S24_ERR_DATA: encryption, methods other than those two, names that occur twice, sizes that
 * cannot be, members that lie over one another or over the directory.
 */
s24_status s24_zip_locate(s24_zip *zip, s24_input *in, s24_error *err);

/* What is wrong with such a name of a member ("has a control character"); NULL: nothing. */
const char *s24_zip_name_fault(const char *name, size_t n);

/*
 * The bytes of a member as a stream, which reads the archive by position: different members from different threads. Its
 * memory is taken when the first byte is read and given back after the last. `entry` must outlive it. named: messages
 * begin with "member NAME: ".
 */
s24_status s24_zip_member(s24_input **member, s24_input *archive, const s24_zip_entry *entry, bool named,
                          s24_error *err);

/*
 * Records of an archive being written, appended to a text: a local header that puts the member's bytes at a multiple of
 * `alignment` (a power of 2, at most 32768; sets entry->data); what follows the bytes of a member with S24_ZIP_DESCRIPTOR;
 * the member's part of the directory; and what follows the directory.
 */
void s24_zip_put_local(s24_text *text, s24_zip_entry *entry, unsigned alignment);
void s24_zip_put_descriptor(s24_text *text, const s24_zip_entry *entry);
void s24_zip_put_central(s24_text *text, const s24_zip_entry *entry);
void s24_zip_put_end(s24_text *text, uint64_t count, uint64_t directory, uint64_t bytes);

#endif
