/* The table from our outcomes to RocketMQ's response codes and remarks. Pure.
 *
 * Source: SendMessageProcessor.handlePutMessageResult, PutMessageStatus of 5.5.0. Our remarks keep
 * the leading text that people search for, and add what this broker knows: the reason of a FAILED
 * store, the ratios of a full disk. */
#include "broker/respcode.h"

#include <stdio.h>

#include "broker/broker.h"

static const struct {
    const char *name;
    int32_t code;
    const char *remark; /* NULL: made below */
} table[PUT_STATUS_N] = {
    [PUT_OK] = {"PUT_OK", RESP_SUCCESS, ""},
    [PUT_FLUSH_TIMEOUT] = {"FLUSH_DISK_TIMEOUT", RESP_FLUSH_DISK_TIMEOUT, ""},
    [PUT_ILLEGAL] = {"MESSAGE_ILLEGAL", RESP_MESSAGE_ILLEGAL, NULL},
    [PUT_PROPERTIES_TOO_BIG] = {"PROPERTIES_SIZE_EXCEEDED", RESP_MESSAGE_ILLEGAL, NULL},
    [PUT_UNAVAILABLE] = {"SERVICE_NOT_AVAILABLE", RESP_SERVICE_NOT_AVAILABLE, NULL},
    [PUT_DISK_FULL] = {"SERVICE_NOT_AVAILABLE", RESP_SERVICE_NOT_AVAILABLE, NULL},
    [PUT_NO_FILE] = {"CREATE_MAPPED_FILE_FAILED", RESP_SYSTEM_ERROR,
                     "create mapped file failed, server is busy or broken. The next commit log file "
                     "could not be created: check the free space of the data directory."},
    [PUT_TIMER_DISABLED] = {"WHEEL_TIMER_NOT_ENABLE", RESP_SYSTEM_ERROR,
                            "accurate timer message is not enabled, timerWheelEnable is false"},
    [PUT_NO_MEMORY] = {"UNKNOWN_ERROR", RESP_SYSTEM_ERROR,
                       "UNKNOWN_ERROR: the broker is out of memory"},
};

int32_t respcode_of_put(const struct broker *b, enum put_status s, char *remark, size_t cap)
{
    if (table[s].remark)
        snprintf(remark, cap, "%s", table[s].remark);
    else if (s == PUT_DISK_FULL)
        snprintf(remark, cap,
                 "service not available now. The broker's disk is full: more than %d percent of it "
                 "were used (diskSpaceWarningLevelRatio). Free space; sends are accepted again at %d "
                 "percent (diskSpaceCleanForciblyRatio).",
                 b->conf->disk_warning, b->conf->disk_clean_forcibly);
    else if (s != PUT_UNAVAILABLE)
        snprintf(remark, cap,
                 "the message is illegal, maybe msg body or properties length not matched. "
                 "msg body length limit %dB, msg properties length limit 32KB.",
                 b->conf->max_message_size);
    else
        snprintf(remark, cap, "service not available now. %s",
                 b->failed ? b->failed_reason : "The broker is shutting down.");
    return table[s].code;
}

const char *put_status_name(enum put_status s)
{
    return table[s].name;
}

int32_t respcode_of_err(int code)
{
    switch (code) {
    case 0: return RESP_SUCCESS;
    case E_INVAL:
    case E_RANGE: return RESP_INVALID_PARAMETER;
    case E_DENIED: return RESP_NO_PERMISSION;
    case E_BUSY: return RESP_SYSTEM_BUSY;
    case E_FAILED:
    case E_SHUTDOWN:
    case E_CLOSED: return RESP_SERVICE_NOT_AVAILABLE;
    case E_TOOBIG: return RESP_MESSAGE_ILLEGAL;
    default: return RESP_SYSTEM_ERROR;
    }
}
