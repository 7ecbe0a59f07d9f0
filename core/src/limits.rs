//! Every bound that is not a const generic, with its reason.

use crate::time::Duration;

/// Bytes of a full block of content information 1.0 (MS-PCCRC 2.1, fact 12).
pub const BLOCK_BYTES: u32 = 65_536;

/// Blocks of a full segment of content information 1.0.
pub const SEGMENT_BLOCKS: u32 = 512;

/// Bytes of a full segment of content information 1.0 (MS-PCCRC 2.1).
pub const SEGMENT_BYTES: u32 = BLOCK_BYTES * SEGMENT_BLOCKS;

/// Bytes of the longest segment of content information 2.0 (MS-PCCRC 2.4.1.2).
pub const MAX_SEGMENT_V2_BYTES: u32 = 131_072;

/// Bytes of the longest digest, and so of the longest segment id and segment secret (SHA-512).
pub const MAX_DIGEST_BYTES: usize = 64;

/// Bytes of a retrieval request (MS-PCCRR 2.2.3, fact 37).
pub const MAX_REQUEST_BYTES: u32 = 98_304;

/// Bytes of a retrieval reply (MS-PCCRR 2.2.3, fact 37).
pub const MAX_REPLY_BYTES: u32 = 393_216;

/// Working buffer for hashing and ciphering stored bytes, on the stack: small enough for a
/// microcontroller, large enough that the per-call cost does not show.
pub const PIECE_BYTES: usize = 1_024;

/// Messages that core gives a crypto provider to hash at once: enough for the cores of a host, and
/// about 1.3 KiB of stack for their digests.
pub const HASH_BATCH: usize = 16;

/// Stored bytes that one call of the machine verifies at most, so that the network never starves
/// behind a slow cipher.
pub const VERIFY_STEP_BYTES: u32 = 8 * 1_024;

/// How long a retrieval exchange may take in all (MS-PCCRR 3.1.2).
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an upload may take in all (MS-PCCRR 3.2.2).
pub const UPLOAD_TIMEOUT: Duration = Duration::from_secs(15);

/// Downloads at once, where the type of a node does not say otherwise, and at most. Each has two connections to
/// its origin: of four, two downloads would leave none.
pub const DOWNLOADS: usize = rows(2, 1);

/// Hosted caches that are known, to turn to the next when one fails.
pub const HOSTED_CACHES: usize = rows(4, 2);

/// Uploads at once, unless configured otherwise (MS-PCCRR 3.2.1, fact 48): beyond, replies are empty.
pub const MAX_UPLOADS: usize = 64;

/// How large a table is, with the feature `large-tables` and without: the second for a device of few
/// connections, for which each table's comment says what the fewer rows come to.
pub(crate) const fn rows(large: usize, small: usize) -> usize {
    if cfg!(feature = "large-tables") { large } else { small }
}
