//! One handler file per API: a decoded request in, a response out.

pub(super) mod api_versions;
pub(super) mod fetch;
mod fetch_encoding;
pub(super) mod init_producer_id;
pub(super) mod list_offsets;
pub(super) mod metadata;
pub(super) mod produce;
