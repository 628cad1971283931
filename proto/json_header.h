#pragma once
/* The JSON form of a command header. Two readers with one meaning: a one-pass scanner for what real
 * clients send, and jansson for everything else. */
#include "proto/command.h"

enum { JSON_HEADER_ODD = 1 };

/* Scans text[0, n). 0: *out is set (body aside), its strings point into text, where escapes have
 * been resolved in place. JSON_HEADER_ODD: not a form the scanner takes; text is as it was, *odd_at
 * is where the scanner stopped, *out holds rubbish. */
int json_header_scan(char *text, size_t n, struct command *out, size_t *odd_at) HP_MUST_USE;

/* Reads the same with jansson, plus what Java's parser lets pass: numbers as strings, names without
 * quotes or in single ones. Strings are appended to `spill`, which may move what is already in it:
 * one spill per command. E_PROTO with line and column or with the member, E_TOOBIG (more than
 * COMMAND_EXT_MAX fields), E_NOMEM. */
int json_header_parse(struct slice text, struct command *out, struct buf *spill,
                      struct err *e) HP_MUST_USE;

/* LanguageCode by name, case ignored; LANGUAGE_OTHER when unknown. */
uint8_t language_of_name(struct slice name);
