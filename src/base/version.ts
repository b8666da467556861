/** The version of lorasa, in one place. */
export const VERSION = "0.1.0";
