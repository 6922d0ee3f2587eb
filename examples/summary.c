/* Reads a CSV file with a header line and writes count, least, greatest and mean of its last column.
 *
 *   clang --target=wasm32-wasi -O2 -s -o summary.wasm summary.c
 *
 * Arguments: the input file, the output file. One line also goes to stdout.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: summary INPUT OUTPUT\n");
    return 2;
  }
  FILE *input = fopen(argv[1], "r");
  if (!input) {
    perror(argv[1]);
    return 1;
  }
  char line[4096];
  long count = 0;
  double least = 0, greatest = 0, sum = 0;
  int header = 1;
  while (fgets(line, sizeof line, input)) {
    if (header) {
      header = 0;
      continue;
    }
    char *last = strrchr(line, ',');
    double value = strtod(last ? last + 1 : line, NULL);
    if (count == 0 || value < least) least = value;
    if (count == 0 || value > greatest) greatest = value;
    sum += value;
    count++;
  }
  fclose(input);
  FILE *output = fopen(argv[2], "w");
  if (!output) {
    perror(argv[2]);
    return 1;
  }
  double mean = count ? sum / count : 0;
  fprintf(output, "count,least,greatest,mean\n%ld,%.3f,%.3f,%.3f\n", count, least, greatest, mean);
  printf("%ld readings, mean %.3f\n", count, mean);
  return fclose(output) ? 1 : 0;
}
