/* Sums up a table of sensor readings.
 *
 *   summary.wasm TABLE [OUTPUT-FOLDER] [GROUP-COLUMN] [VALUE-COLUMN]
 *
 * TABLE is a CSV file with a header line, for example station,time,temperature. The values are grouped
 * (default: by the first column) and counted (default: the last column). The summary goes to stdout and to
 * OUTPUT-FOLDER/summary.json (default /outputs), the groups to OUTPUT-FOLDER/groups.csv. Lines whose value
 * is no number are counted as skipped. Exit codes: 0 well, 2 wrong use, 3 cannot read, 4 cannot write.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_GROUPS = 4096, MAX_LINE = 8192, MAX_COLUMNS = 256, NAME = 64 };

struct stats {
    char name[NAME];
    unsigned long count;
    double sum, squares, least, most;
};

static struct stats groups[MAX_GROUPS], all = {"all", 0, 0, 0, 0, 0};
static unsigned ngroups;
static unsigned long skipped;

static void add(struct stats *s, double value) {
    if (s->count == 0 || value < s->least) s->least = value;
    if (s->count == 0 || value > s->most) s->most = value;
    s->count++;
    s->sum += value;
    s->squares += value * value;
}

static double mean(const struct stats *s) { return s->count ? s->sum / s->count : 0; }

static double deviation(const struct stats *s) {
    if (s->count < 2) return 0;
    double variance = (s->squares - s->sum * s->sum / s->count) / (s->count - 1);
    return variance > 0 ? sqrt(variance) : 0;
}

static struct stats *group(const char *name) {
    for (unsigned i = 0; i < ngroups; i++)
        if (!strncmp(groups[i].name, name, NAME - 1)) return &groups[i];
    if (ngroups == MAX_GROUPS) return NULL;
    strncpy(groups[ngroups].name, name, NAME - 1);
    return &groups[ngroups++];
}

/* Cuts the line at its commas; a quoted field loses its quotes. */
static int split(char *line, char **fields) {
    int n = 0;
    line[strcspn(line, "\r\n")] = 0;
    for (char *at = line; at && n < MAX_COLUMNS;) {
        if (*at == '"') {
            fields[n++] = ++at;
            char *end = strchr(at, '"');
            if (!end) break;
            *end = 0;
            at = strchr(end + 1, ',');
            if (at) at++;
        } else {
            fields[n++] = at;
            at = strchr(at, ',');
            if (at) *at++ = 0;
        }
    }
    return n;
}

static int column(char **header, int n, const char *name, int otherwise) {
    if (!name) return otherwise;
    for (int i = 0; i < n; i++)
        if (!strcmp(header[i], name)) return i;
    fprintf(stderr, "the table has no column %s\n", name);
    exit(2);
}

static void json_text(FILE *to, const char *text) {
    fputc('"', to);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') fputc('\\', to);
        if ((unsigned char)*text >= 32) fputc(*text, to);
    }
    fputc('"', to);
}

static void json_stats(FILE *to, const struct stats *s) {
    fprintf(to, "{\"count\": %lu, \"mean\": %.4f, \"deviation\": %.4f, \"min\": %.4f, \"max\": %.4f}", s->count,
            mean(s), deviation(s), s->least, s->most);
}

static void json(FILE *to, const char *table, const char *value) {
    fputs("{\"table\": ", to);
    json_text(to, table);
    fputs(", \"value\": ", to);
    json_text(to, value);
    fprintf(to, ", \"skipped\": %lu, \"all\": ", skipped);
    json_stats(to, &all);
    fputs(", \"groups\": {", to);
    for (unsigned i = 0; i < ngroups; i++) {
        if (i) fputs(", ", to);
        json_text(to, groups[i].name);
        fputs(": ", to);
        json_stats(to, &groups[i]);
    }
    fputs("}}\n", to);
}

static FILE *create(const char *folder, const char *name) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    if (!file) {
        fprintf(stderr, "cannot write %s: %s\n", path, strerror(errno));
        exit(4);
    }
    return file;
}

static void finish(FILE *file) {
    if (fclose(file)) {
        fprintf(stderr, "cannot write: %s\n", strerror(errno));
        exit(4);
    }
}

int main(int argc, char **argv) {
    static char line[MAX_LINE], header_line[MAX_LINE];
    char *header[MAX_COLUMNS], *fields[MAX_COLUMNS];
    if (argc < 2) {
        fprintf(stderr, "usage: %s TABLE [OUTPUT-FOLDER] [GROUP-COLUMN] [VALUE-COLUMN]\n", argv[0]);
        return 2;
    }
    FILE *table = fopen(argv[1], "r");
    if (!table || !fgets(header_line, sizeof header_line, table)) {
        fprintf(stderr, "cannot read %s: %s\n", argv[1], table ? "it is empty" : strerror(errno));
        return 3;
    }
    int columns = split(header_line, header);
    int by = column(header, columns, argc > 3 ? argv[3] : NULL, 0);
    int of = column(header, columns, argc > 4 ? argv[4] : NULL, columns - 1);
    while (fgets(line, sizeof line, table)) {
        int n = split(line, fields);
        char *end = NULL;
        double value = n > of ? strtod(fields[of], &end) : 0;
        struct stats *of_group = NULL;
        if (n > by && end && end != fields[of] && *end == 0 && isfinite(value)) of_group = group(fields[by]);
        if (!of_group) {
            skipped++;
            continue;
        }
        add(of_group, value);
        add(&all, value);
    }
    fclose(table);
    const char *folder = argc > 2 ? argv[2] : "/outputs";
    json(stdout, argv[1], header[of]);
    FILE *out = create(folder, "summary.json");
    json(out, argv[1], header[of]);
    finish(out);
    out = create(folder, "groups.csv");
    fprintf(out, "%s,count,mean,deviation,min,max\n", header[by]);
    for (unsigned i = 0; i < ngroups; i++)
        fprintf(out, "%s,%lu,%.4f,%.4f,%.4f,%.4f\n", groups[i].name, groups[i].count, mean(&groups[i]),
                deviation(&groups[i]), groups[i].least, groups[i].most);
    finish(out);
    return 0;
}
