//! `meta.properties`: whose directory this is.
//!
//! Text, so that a person can read it; the last line is a checksum of those before:
//!
//! ```text
//! format.version=2
//! cluster.id=<text>
//! broker.id=<number>
//! disk.id=<32 hexadecimal digits, random, one per directory>
//! crc=<8 hexadecimal digits: CRC-32C of the lines above>
//! ```
//! Replaced as a whole and synced. A directory of another version, cluster or broker is refused and not touched.

use std::fmt::Write;

use highwater_proto::BrokerId;
use highwater_proto::record::crc32c;

/// The file's name in the data directory.
pub const META_FILE: &str = "meta.properties";
/// The version of everything in the directory that is written and read here.
pub const FORMAT_VERSION: u32 = 2;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Version of the formats in the directory.
    pub format_version: u32,
    /// The cluster.
    pub cluster_id: String,
    /// The broker.
    pub broker_id: BrokerId,
    /// This directory, told from any other one that may be mounted in its place.
    pub disk_id: String,
}

impl Meta {
    /// The file's text.
    pub fn encode(&self) -> String {
        let mut text = format!(
            "format.version={}\ncluster.id={}\nbroker.id={}\ndisk.id={}\n",
            self.format_version, self.cluster_id, self.broker_id, self.disk_id
        );
        let crc = crc32c(text.as_bytes());
        let _ = writeln!(text, "crc={crc:08x}");
        text
    }

    /// Reads the text; `None` if it is damaged. Keys that are not known are fine: a later version may have them.
    pub fn decode(text: &str) -> Option<Meta> {
        let (lines, crc) = text.strip_suffix('\n')?.rsplit_once('\n')?;
        let crc = u32::from_str_radix(crc.strip_prefix("crc=")?, 16).ok()?;
        if crc != crc32c(&text.as_bytes()[..lines.len() + 1]) {
            return None;
        }
        let get = |key: &str| {
            lines
                .lines()
                .filter_map(|line| line.split_once('='))
                .find(|(k, _)| *k == key)
                .map(|(_, value)| value)
        };
        Some(Meta {
            format_version: get("format.version")?.parse().ok()?,
            cluster_id: get("cluster.id")?.to_owned(),
            broker_id: BrokerId(get("broker.id")?.parse().ok()?),
            disk_id: get("disk.id")?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        Meta {
            format_version: 1,
            cluster_id: "one=two".to_owned(),
            broker_id: BrokerId(7),
            disk_id: "00ff".to_owned(),
        }
    }

    #[test]
    fn the_text_is_pinned_and_comes_back() {
        let text = meta().encode();
        assert!(
            text.starts_with("format.version=1\ncluster.id=one=two\nbroker.id=7\ndisk.id=00ff\ncrc="),
            "{text}"
        );
        assert_eq!(Meta::decode(&text), Some(meta()));
    }

    #[test]
    fn any_changed_byte_is_seen() {
        let text = meta().encode();
        for at in 0..text.len() - 1 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert_eq!(Meta::decode(&changed), None, "byte {at}");
        }
        assert_eq!(Meta::decode(""), None);
        assert_eq!(Meta::decode(&text[..text.len() - 1]), None);
    }
}
