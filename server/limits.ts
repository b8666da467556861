/** Limits of the server, each checked before memory is taken. Not configuration: `app.ts` may lower some. */

/** Largest request body, and so the largest adapter that can be pushed. */
export const BODY_LIMIT_BYTES = 64 * 2 ** 20;
/** Most pieces a body may arrive in: many tiny chunks cost far more than their bytes. */
export const CHUNK_LIMIT = 65_536;
/** Most rows (environments × agents) in one inference. */
export const ROW_LIMIT = 65_536;
/** Most axes of a tensor on the wire; JSON data is never nested deeper. */
export const RANK_LIMIT = 8;
/** Most inputs or outputs named in one request. */
export const TENSOR_LIMIT = 64;
/** Longest request `id`, echoed in the reply. */
export const ID_LIMIT_CHARACTERS = 1024;
/** Longest request line and headers. */
export const HEADER_LIMIT_BYTES = 16 * 1024;
/** How many batch sizes keep their buffers ready; the least recently used goes first. */
export const BINDING_LIMIT = 32;
