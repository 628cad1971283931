#pragma once
/* The business codes of the shop: number, HTTP status, text (codes.def). */

enum {
#define CODE(name, number, http, text) CODE_##name = (number),
#include "apps/common/codes.def"
#undef CODE
};

const char *code_text(int code); /* "not enough stock"; "unknown code" for a stranger */
const char *code_name(int code); /* "STOCK_SHORT" */
int code_http(int code);         /* HTTP status; 500 for a stranger */
