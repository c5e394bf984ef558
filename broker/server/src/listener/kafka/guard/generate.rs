//! Bodies made up along the guard's own table, for the codec to judge.

use super::schema::{Kind, Null, Request, Struct};

/// A stream of numbers that looks random and is the same for the same seed (splitmix64).
pub(in crate::listener::kafka) struct Numbers(pub(in crate::listener::kafka) u64);

impl Numbers {
    pub(in crate::listener::kafka::guard) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(in crate::listener::kafka::guard) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// Whether the tagged fields that the codec knows are sent too. It leaves out those that have their defaults when it
/// encodes, so with them the bytes need not come back the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::listener::kafka::guard) enum KnownTags {
    Sent,
    LeftOut,
}

/// What a body's fields hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::listener::kafka::guard) enum Contents {
    /// Anything of the field's type.
    Noise,
    /// What means something to a handler, or nearly does.
    Telling,
}

/// Texts that mean something to some handler.
const TEXTS: &[&str] = &[
    "t",
    "u",
    "absent",
    "a b",
    "",
    "1",
    "retention.ms",
    "cleanup.policy",
    "compact",
    "77",
    "durability",
    "__x",
];
/// Numbers at the edges of what handlers take.
const NUMBERS: &[i64] = &[-1, 0, 1, 2, 3, 7, -2, i16::MAX as i64, i32::MIN as i64, i32::MAX as i64, i64::MAX];

/// A legal body of a request in this version, for the handlers.
pub(in crate::listener::kafka) fn telling_body(api_key: i16, version: i16, numbers: &mut Numbers) -> Vec<u8> {
    let request = super::requests::REQUESTS.iter().find(|request| request.api_key == api_key);
    let request = request.expect("every API that is served has its shape in the table");
    let compact = version >= request.flexible;
    let known = KnownTags::Sent;
    let contents = Contents::Telling;
    let mut writer = Writer { numbers, out: Vec::new(), version, compact, known, contents };
    writer.structure(request.body);
    writer.out
}

/// A legal body of a request.
pub(in crate::listener::kafka::guard) fn body(
    request: &Request,
    version: i16,
    known: KnownTags,
    numbers: &mut Numbers,
) -> Vec<u8> {
    let compact = version >= request.flexible;
    let contents = Contents::Noise;
    let mut writer = Writer { numbers, out: Vec::new(), version, compact, known, contents };
    writer.structure(request.body);
    writer.out
}

struct Writer<'a> {
    numbers: &'a mut Numbers,
    out: Vec<u8>,
    version: i16,
    compact: bool,
    known: KnownTags,
    contents: Contents,
}

impl Writer<'_> {
    fn structure(&mut self, shape: &Struct) {
        let version = self.version;
        for field in shape.fields.iter().filter(|field| field.is_in(version)) {
            self.field(&field.kind);
        }
        if self.compact {
            self.tagged_fields(shape);
        }
    }

    fn field(&mut self, kind: &Kind) {
        match *kind {
            Kind::Fixed(bytes) if self.contents == Contents::Telling => {
                let number = NUMBERS[self.numbers.below(NUMBERS.len())];
                let wide = [[0; 8], number.to_be_bytes()].concat();
                self.out.extend(&wide[16 - bytes..]);
            }
            Kind::Text(null) if self.contents == Contents::Telling => {
                if !self.null(null, 2) {
                    let text = TEXTS[self.numbers.below(TEXTS.len())];
                    self.count(text.len(), 2);
                    self.out.extend(text.as_bytes());
                }
            }
            // The codec gives booleans back as 0 or 1.
            Kind::Fixed(1) => self.out.push((self.numbers.next() & 1) as u8),
            Kind::Fixed(bytes) => self.random_bytes(bytes),
            Kind::Text(null) => self.bytes(null, 2),
            Kind::Blob(null) => self.bytes(null, 4),
            Kind::Array(element, null) => {
                if self.null(null, 4) {
                    return;
                }
                let count = self.numbers.below(4);
                self.count(count, 4);
                for _ in 0..count {
                    self.field(element);
                }
            }
            Kind::Struct(shape) => self.structure(shape),
            Kind::Optional(shape) => {
                if self.numbers.one_in(3) {
                    return self.out.push(0xff);
                }
                self.out.push(1);
                self.structure(shape);
            }
        }
    }

    fn tagged_fields(&mut self, shape: &Struct) {
        let mut tags: Vec<(u32, Vec<u8>)> = Vec::new();
        let version = self.version;
        for tag in shape.tags.iter().filter(|tag| tag.field.is_in(version)) {
            if self.known == KnownTags::Sent && self.numbers.one_in(2) {
                let before = std::mem::take(&mut self.out);
                self.field(&tag.field.kind);
                tags.push((tag.tag, std::mem::replace(&mut self.out, before)));
            }
        }
        if self.numbers.one_in(3) {
            for step in 1..=self.numbers.below(3) as u32 {
                let length = self.numbers.below(200);
                tags.push((10 + 100 * step, vec![7; length]));
            }
        }
        self.varint(tags.len() as u32);
        for (tag, value) in tags {
            self.varint(tag);
            self.varint(value.len() as u32);
            self.out.extend(value);
        }
    }

    fn bytes(&mut self, null: Null, width: usize) {
        if self.null(null, width) {
            return;
        }
        // Sometimes long enough for a compact length of two bytes.
        let length = if self.numbers.one_in(10) { 200 } else { self.numbers.below(12) };
        self.count(length, width);
        for _ in 0..length {
            let letter = b'a' + self.numbers.below(26) as u8;
            self.out.push(letter);
        }
    }

    fn null(&mut self, null: Null, width: usize) -> bool {
        let write = null == Null::Legal && self.numbers.one_in(4);
        if write {
            if self.compact {
                self.out.push(0);
            } else {
                self.out.extend(vec![0xff; width]);
            }
        }
        write
    }

    fn count(&mut self, count: usize, width: usize) {
        if self.compact {
            self.varint(count as u32 + 1);
        } else {
            self.out.extend(&(count as u32).to_be_bytes()[4 - width..]);
        }
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    fn random_bytes(&mut self, count: usize) {
        for _ in 0..count {
            let byte = self.numbers.next() as u8;
            self.out.push(byte);
        }
    }
}
