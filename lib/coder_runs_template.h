/*
 * Splitting and joining of whole runs of values, for elements of one width. Instantiated by coder_planes.c, which defines
 * before it includes this file
 *
 *   ELEMENT      the unsigned integer that an element is
 *   SPLIT, JOIN  the names of the two functions
 */
static size_t SPLIT(const s24_cut *cut, const void *values, size_t n, const s24_value_planes *planes)
{
    const s24_cut c = *cut;
    const unsigned low_bits = 8 * c.lows, above = low_bits + c.middle, highest = 8 * sizeof(ELEMENT) - 1;
    const ELEMENT prefix_mask = (ELEMENT)((1u << c.prefix) - 1), middle_mask = (ELEMENT)((1u << c.middle) - 1);
    size_t i = 0;
    for (; n - i >= RUN; i += RUN) {
        ELEMENT v[RUN];
        uint16_t prefixes[RUN];
        uint8_t bytes[RUN];
        memcpy(v, (const uint8_t *)values + i * sizeof *v, sizeof v);
        EACH prefixes[k] = (uint16_t)(v[k] >> above & prefix_mask);
        symbols_of(&c, prefixes, bytes);
        memcpy(planes->symbols + i, bytes, RUN);
        for (unsigned low = 0; low < c.lows; low++) {
            EACH bytes[k] = (uint8_t)(v[k] >> 8 * low);
            memcpy(planes->lows[low] + i, bytes, RUN);
        }
        if (c.middle) {
            EACH bytes[k] = (uint8_t)(v[k] >> low_bits & middle_mask);
            pack_run(bytes, c.middle, planes->middle + i / 8 * c.middle);
        }
        if (c.sign) {
            EACH bytes[k] = (uint8_t)(v[k] >> highest);
            pack_bits(bytes, planes->signs + i / 8);
        }
    }
    return i;
}

static size_t JOIN(const s24_cut *cut, const s24_value_planes *planes, size_t n, void *values)
{
    const s24_cut c = *cut;
    const unsigned low_bits = 8 * c.lows, above = low_bits + c.middle, highest = 8 * sizeof(ELEMENT) - 1;
    uint8_t middle[RUN] = {0}, signs[RUN] = {0};
    size_t i = 0;
    for (; n - i >= RUN; i += RUN) {
        ELEMENT v[RUN];
        uint16_t prefixes[RUN];
        uint8_t bytes[RUN];
        if (c.sign) {
            unpack_bits(planes->signs + i / 8, signs);
        }
        if (c.middle) {
            unpack_run(planes->middle + i / 8 * c.middle, c.middle, middle);
        }
        memcpy(bytes, planes->symbols + i, RUN);
        prefixes_of(&c, bytes, prefixes);
        EACH v[k] = (ELEMENT)(UP(prefixes[k], above) | UP(middle[k], low_bits) | UP(signs[k], highest));
        for (unsigned low = 0; low < c.lows; low++) {
            memcpy(bytes, planes->lows[low] + i, RUN);
            EACH v[k] |= UP(bytes[k], 8 * low);
        }
        memcpy((uint8_t *)values + i * sizeof v[0], v, sizeof v);
    }
    return i;
}

#undef ELEMENT
#undef UP
#undef SPLIT
#undef JOIN
