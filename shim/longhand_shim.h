/* The C interface of the Rust library: Hugging Face tokenizers, chat templates (minijinja), grammars
 * (llguidance), safetensors headers and Parquet.
 *
 * Use it through the C++ classes beside it: tokenizer.h, chat_template.h, grammar.h,
 * safetensors_header.h, parquet_reader.h.
 *
 * Results   Functions that can fail return 0 or a StatusCode of common/status.h, and then write one
 * sentence to
 *           `*error`. A panic inside is INTERNAL; nothing unwinds into the caller.
 * Ownership A slice is borrowed for the call. `out` handles and owned values belong to the caller,
 * who gives each back once to the free function named with it; nothing is written to them on
 * failure. Threads   A handle may be used by any number of threads at once; freeing it must be the
 * last use.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* `data` may be null when `size` is 0; where a file may be absent, null means that it is. */
typedef struct {
  const uint8_t* data;
  size_t size;
} longhand_shim_slice;

/* longhand_shim_free_bytes */
typedef struct {
  uint8_t* data;
  size_t size;
} longhand_shim_bytes;

/* longhand_shim_free_ids */
typedef struct {
  uint32_t* data;
  size_t size;
} longhand_shim_ids;

/* Bytes [begin, end) of a text. */
typedef struct {
  size_t begin;
  size_t end;
} longhand_shim_range;

void longhand_shim_free_bytes(longhand_shim_bytes bytes);
void longhand_shim_free_ids(longhand_shim_ids ids);

/* --- tokenizer
 * -----------------------------------------------------------------------------------------------------
 */

typedef struct longhand_shim_tokenizer longhand_shim_tokenizer;

enum { LONGHAND_SHIM_SPECIAL = 1, LONGHAND_SHIM_ADDED = 2 };

/* Borrowed from the tokenizer. Bytes of id i: bytes[offsets[i]] up to bytes[offsets[i + 1]]. */
typedef struct {
  const uint8_t* bytes;
  const uint32_t* offsets; /* [num_ids + 1] */
  const uint8_t* flags;    /* [num_ids] */
  size_t num_ids;
} longhand_shim_token_table;

/* From the contents of tokenizer.json and of tokenizer_config.json, which may be absent. */
int longhand_shim_tokenizer_new(longhand_shim_slice tokenizer_json,
                                longhand_shim_slice config_json,
                                longhand_shim_tokenizer** out,
                                longhand_shim_bytes* error);
void longhand_shim_tokenizer_free(longhand_shim_tokenizer* tokenizer);

/* With every added token parsed; and with none. Each malformed part of UTF-8 counts as U+FFFD. */
int longhand_shim_tokenizer_encode(const longhand_shim_tokenizer* tokenizer,
                                   longhand_shim_slice text,
                                   longhand_shim_ids* ids,
                                   longhand_shim_bytes* error);
int longhand_shim_tokenizer_encode_plain(const longhand_shim_tokenizer* tokenizer,
                                         longhand_shim_slice text,
                                         longhand_shim_ids* ids,
                                         longhand_shim_bytes* error);

/* Added tokens are parsed only between the literal ranges: sorted, without overlaps, on character
 * boundaries of UTF-8 text. A range of length 0 is a seam that no added token spans. */
int longhand_shim_tokenizer_encode_around(const longhand_shim_tokenizer* tokenizer,
                                          longhand_shim_slice text,
                                          const longhand_shim_range* literal,
                                          size_t num_literal,
                                          longhand_shim_ids* ids,
                                          longhand_shim_bytes* error);

/* 1 and `*id`, or 0 when the vocabulary has no such token (in its own byte-level spelling). */
int longhand_shim_tokenizer_id_of(const longhand_shim_tokenizer* tokenizer,
                                  longhand_shim_slice token,
                                  uint32_t* id);

longhand_shim_token_table longhand_shim_tokenizer_table(const longhand_shim_tokenizer* tokenizer);

/* --- chat template
 * -------------------------------------------------------------------------------------------------
 */

typedef struct longhand_shim_chat_template longhand_shim_chat_template;

/* longhand_shim_free_rendered */
typedef struct {
  longhand_shim_bytes text;
  struct {
    longhand_shim_range* data;
    size_t size;
  } literal;         /* where the request's own text is in `text` */
  int literal_known; /* 0: the template changed that text, and `literal` is empty */
} longhand_shim_rendered;

/* From the contents of the checkpoint's files, each of which may be absent: chat_template.json
 * wins over chat_template.jinja, which wins over `chat_template` in tokenizer_config.json. */
int longhand_shim_chat_template_new(longhand_shim_slice jinja,
                                    longhand_shim_slice template_json,
                                    longhand_shim_slice config_json,
                                    longhand_shim_chat_template** out,
                                    longhand_shim_bytes* error);
void longhand_shim_chat_template_free(longhand_shim_chat_template* chat_template);

/* `input_json` is an object: "messages" and the template's other variables. Steps, depth and output
 * are limited in proportion to its size. */
int longhand_shim_chat_template_render(const longhand_shim_chat_template* chat_template,
                                       longhand_shim_slice input_json,
                                       longhand_shim_rendered* out,
                                       longhand_shim_bytes* error);
void longhand_shim_free_rendered(longhand_shim_rendered rendered);

/* --- grammar
 * -------------------------------------------------------------------------------------------------------
 */

typedef struct longhand_shim_grammar_compiler longhand_shim_grammar_compiler;
typedef struct longhand_shim_grammar longhand_shim_grammar;

/* One thread at a time. May outlive its grammar. */
typedef struct longhand_shim_grammar_matcher longhand_shim_grammar_matcher;

enum {
  LONGHAND_SHIM_JSON_SCHEMA = 1,
  LONGHAND_SHIM_JSON_OBJECT = 2, /* any; the text is not looked at */
  LONGHAND_SHIM_REGEX = 3,       /* of the whole answer */
  LONGHAND_SHIM_CHOICE = 4,      /* a JSON array of strings */
  LONGHAND_SHIM_LARK = 5
};

/* Outlives the tokenizer. */
int longhand_shim_grammar_compiler_new(const longhand_shim_tokenizer* tokenizer,
                                       longhand_shim_grammar_compiler** out,
                                       longhand_shim_bytes* error);
void longhand_shim_grammar_compiler_free(longhand_shim_grammar_compiler* compiler);

/* Size, depth, states and steps are bounded. Outlives the compiler. */
int longhand_shim_grammar_compile(const longhand_shim_grammar_compiler* compiler,
                                  int kind,
                                  longhand_shim_slice text,
                                  longhand_shim_grammar** out,
                                  longhand_shim_bytes* error);
void longhand_shim_grammar_free(longhand_shim_grammar* grammar);

/* Before the first token. */
int longhand_shim_grammar_matcher_new(const longhand_shim_grammar* grammar,
                                      longhand_shim_grammar_matcher** out,
                                      longhand_shim_bytes* error);
void longhand_shim_grammar_matcher_free(longhand_shim_grammar_matcher* matcher);

/* INVALID_ARGUMENT for a token that may not follow; no call but free may come after an error. */
int longhand_shim_grammar_matcher_append(longhand_shim_grammar_matcher* matcher,
                                         uint32_t id,
                                         longhand_shim_bytes* error);

/* Writes which tokens may follow: bit `id % 32` of mask[id / 32]; ids without a word are not told. */
int longhand_shim_grammar_matcher_allowed(longhand_shim_grammar_matcher* matcher,
                                          uint32_t* mask,
                                          size_t num_words,
                                          longhand_shim_bytes* error);

/* Whether the answer may end here, and whether it has to. */
int longhand_shim_grammar_matcher_end(longhand_shim_grammar_matcher* matcher,
                                      int* is_complete,
                                      int* must_end,
                                      longhand_shim_bytes* error);

/* --- safetensors
 * ---------------------------------------------------------------------------------------------------
 */

typedef struct longhand_shim_safetensors longhand_shim_safetensors;

/* Borrowed from the handle. */
typedef struct {
  longhand_shim_slice name;
  longhand_shim_slice dtype; /* "BF16", "F32", ... */
  const uint64_t* shape;     /* [rank] */
  size_t rank;
  uint64_t begin; /* bytes from the start of the file */
  uint64_t end;
} longhand_shim_tensor;

/* `file` is the whole file, mapped; only the header is read. Refused: holes, overlaps, a size that
 * differs from shape and dtype, and data that does not end with the file. Tensors come in the order
 * of their data. */
int longhand_shim_safetensors_new(longhand_shim_slice file,
                                  longhand_shim_safetensors** out,
                                  longhand_shim_bytes* error);
const longhand_shim_tensor* longhand_shim_safetensors_tensors(
    const longhand_shim_safetensors* header, size_t* num_tensors);
void longhand_shim_safetensors_free(longhand_shim_safetensors* header);

/* --- parquet
 * -------------------------------------------------------------------------------------------------------
 */

/* One thread at a time. */
typedef struct longhand_shim_parquet longhand_shim_parquet;

/* Borrowed from the reader until the next row. */
typedef struct {
  longhand_shim_slice json; /* an object, where bytes are {"blob": i}; empty after the last row */
  const longhand_shim_slice* blobs;
  size_t num_blobs;
} longhand_shim_parquet_row;

int longhand_shim_parquet_new(longhand_shim_slice path,
                              longhand_shim_parquet** out,
                              longhand_shim_bytes* error);
int64_t longhand_shim_parquet_num_rows(const longhand_shim_parquet* reader); /* as the file says */
int longhand_shim_parquet_next(longhand_shim_parquet* reader,
                               longhand_shim_parquet_row* out,
                               longhand_shim_bytes* error);
void longhand_shim_parquet_free(longhand_shim_parquet* reader);

#ifdef __cplusplus
} /* extern "C" */
#endif
