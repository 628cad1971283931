/* Expander of a conf.def: included once for the fields of the struct and once for the rows of the
 * table, so a key is written in one place. No include guard: every include is one expansion.
 *
 * broker/conf.def holds rows only:
 *   CONF(BOOL, auto_create_topic_enable, "autoCreateTopicEnable", "true", 0, 0, CONF_RUNTIME, "help")
 *   CONF(I32,  listen_port, "listenPort", "10911", 0, 65535, 0, "0 picks a free port")
 *   CONF(I64,  commit_log_size, "mappedFileSizeCommitLog", "1073741824", 4096, INT64_C(1) << 40, 0, "")
 *   CONF(STR,  broker_name, "brokerName", "DEFAULT_BROKER", 1, 255, 0, "1 to 255 bytes")
 *   CONF(ENUM, flush_disk_type, "flushDiskType", "ASYNC_FLUSH", flush_disk_names, 0, 0, "")
 *   CONF_ALIAS(I32, listen_port, "port", NULL, 0, 65535, 0, "another spelling of listenPort")
 *   CONF_NONE(STR, "enablePropertyFilter", "false", CONF_UNSAFE, "why it is refused, what to do")
 *   CONF_NONE(STR, "useTLS", NULL, CONF_IGNORED, "why it means nothing here")
 *
 * An ENUM row gives, in the place of `min`, its names: `static const char *const flush_disk_names[] =
 * {"ASYNC_FLUSH", "SYNC_FLUSH", NULL};`, visible where the rows are expanded; the field holds the
 * index. An alias row repeats a field under a second key; it gives no field of its own.
 *
 *   struct broker_conf {
 *   #define CONF_DEF "broker/conf.def"
 *   #define CONF_FIELDS
 *   #include "base/conf_def.h"
 *   };
 *
 *   static const struct conf_row rows[] = {
 *   #define CONF_DEF "broker/conf.def"
 *   #define CONF_ROWS struct broker_conf
 *   #include "base/conf_def.h"
 *   };
 *   const struct conf_table broker_conf_table = {rows, sizeof rows / sizeof *rows};
 *
 * Both macros are undefined again at the end. */
#if defined CONF_FIELDS

#define CONF_TYPE_BOOL bool
#define CONF_TYPE_I32 int32_t
#define CONF_TYPE_I64 int64_t
#define CONF_TYPE_STR char *
#define CONF_TYPE_ENUM int
#define CONF(kind, field, ...) CONF_TYPE_##kind field;
#define CONF_ALIAS(...)
#define CONF_NONE(...)
#include CONF_DEF
#undef CONF_TYPE_BOOL
#undef CONF_TYPE_I32
#undef CONF_TYPE_I64
#undef CONF_TYPE_STR
#undef CONF_TYPE_ENUM

#elif defined CONF_ROWS

#define CONF_LIMITS_BOOL(lo, hi) lo, hi, NULL
#define CONF_LIMITS_I32(lo, hi) lo, hi, NULL
#define CONF_LIMITS_I64(lo, hi) lo, hi, NULL
#define CONF_LIMITS_STR(lo, hi) lo, hi, NULL
#define CONF_LIMITS_ENUM(names, hi) 0, hi, names
#define CONF(kind, field, name, def, min, max, flags, help)                                        \
    {name, CONF_##kind, offsetof(CONF_ROWS, field), def, CONF_LIMITS_##kind(min, max), flags, help},
#define CONF_ALIAS(kind, field, name, def, min, max, flags, help)                                  \
    CONF(kind, field, name, def, min, max, (flags) | CONF_SECOND_NAME, help)
#define CONF_NONE(kind, name, def, flags, help)                                                    \
    {name, CONF_##kind, CONF_NO_FIELD, def, 0, 0, NULL, flags, help},
#include CONF_DEF
#undef CONF_LIMITS_BOOL
#undef CONF_LIMITS_I32
#undef CONF_LIMITS_I64
#undef CONF_LIMITS_STR
#undef CONF_LIMITS_ENUM

#else
#error "define CONF_FIELDS or CONF_ROWS before including base/conf_def.h"
#endif

#undef CONF
#undef CONF_ALIAS
#undef CONF_NONE
#undef CONF_FIELDS
#undef CONF_ROWS
#undef CONF_DEF
