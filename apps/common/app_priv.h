#pragma once
/* struct app as settings.c and app.c share it. */
#include "apps/common/app.h"
#include "apps/common/dead_letters.h"

#define APP_TABLES_MAX 4
#define APP_OPTIONS_MAX 64
#define APP_JOBS_MAX 8

struct app_value {
    const struct app_option *option;
    char *text; /* own */
    int64_t number;
    int rank; /* 0 default, 1 file, 2 environment, 3 command line */
};

struct app_job_state {
    struct app *app;
    char name[32];
    int64_t interval_ms;
    app_step step;
    void *arg;
    pthread_t thread;
};

struct app {
    struct app_value values[APP_OPTIONS_MAX];
    int n_values;
    bool help;

    const struct app_service *service;
    void *state;
    struct db *db;
    struct mq *mq;
    struct ids ids;
    struct metrics *metrics;
    struct dead_letters dead_letters;
    struct http_server *public_http, *internal_http;

    pthread_mutex_t lock; /* guards stopping */
    pthread_cond_t wake;
    bool stopping;
    struct app_job_state jobs[APP_JOBS_MAX];
    int n_jobs;
};

extern const struct app_option app_common_options[];
