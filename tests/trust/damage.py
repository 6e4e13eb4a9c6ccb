#!/usr/bin/env python3
"""Damages a .s24, and sees that nothing is silently wrong.

    damage.py S24 [DAMAGES [SEED]]

Every single bit flipped, every truncation, then DAMAGES random ones: bytes overwritten, ranges zeroed, moved, swapped,
repeated, dropped or inserted. verify must find each. For a sample of them `decompress` must fail and write nothing, and
`decompress --salvage` must give every element that it does not name as lost exactly.
"""
