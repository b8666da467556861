/** Limits of the server, each checked before memory is taken. Not configuration: `app.ts` may lower some. */

/** Largest request body, and so the largest adapter that can be pushed. */
export const BODY_LIMIT_BYTES = 64 * 2 ** 20;
/** Largest JSON text of a request: parsing it holds the event loop, unlike tensors that come as bytes. */
export const JSON_LIMIT_BYTES = 16 * 2 ** 20;
/** Deepest nesting of arrays and objects in JSON. */
export const JSON_DEPTH_LIMIT = 100;
/** Shorter JSON cannot nest deep enough to matter. */
export const JSON_DEPTH_CHECKED_BYTES = 16 * 1024;
/** Longest JSON before tensors that is remembered by its text. */
export const HEAD_MEMORY_BYTES = 1024;
/** Most texts of JSON before tensors that are remembered. */
export const HEAD_MEMORY_LIMIT = 256;
/** Largest body of a management request that carries no adapter. */
export const CONTROL_LIMIT_BYTES = 64 * 1024;
/** Replies of fewer bytes are never compressed: headers and time cost more than is saved. */
export const COMPRESSED_LEAST_BYTES = 1024;
/** Replies of at least as many bytes are not copied into one buffer first. */
export const PIECES_LEAST_BYTES = 8192;
/** Most bytes of bodies that are arriving at once, over all connections. */
export const ARRIVING_LIMIT_BYTES = 2 ** 30;
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
/** Most headers of a request. */
export const HEADER_LIMIT_COUNT = 128;
/** Most connections that are open at once. */
export const CONNECTION_LIMIT = 16_384;
/** Connections beyond the most, held for a moment so that they are told why; what is beyond these is dropped. */
export const SURPLUS_LIMIT = 64;
/** Most distinct paths of requests whose routes are remembered. */
export const PATH_MEMORY_LIMIT = 1024;
/** Longest path of a request that is remembered. */
export const PATH_MEMORY_CHARACTERS = 512;
/** How many batch sizes keep their buffers ready; the least recently used goes first. */
export const BINDING_LIMIT = 32;
