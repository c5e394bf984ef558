//! The walk along a body: every count, length and tag against the bytes that are there.

use super::error::GuardError;
use super::requests::REQUESTS;
use super::schema::{Field, Kind, Lengths, Null, Request, Struct};

/// Most elements in all arrays of a request. The codec's largest element takes about 110 bytes, so a request costs at
/// most some 25 MB beside its own bytes, whatever it says.
const OBJECTS_MAX: u32 = 200_000;

/// Most tagged fields of a request.
const TAGGED_FIELDS_MAX: u32 = 10_000;

/// Most bytes of a number of variable length.
const VARINT_BYTES_MAX: usize = 5;

/// Refuses a request's body (what follows the header) that lies about its counts and lengths, that ends early or goes
/// on after its end. Allocates nothing.
///
/// # Errors
/// [`GuardError`].
pub(in crate::listener::kafka) fn check(api_key: i16, version: i16, body: &[u8]) -> Result<(), GuardError> {
    let request = find(api_key, version).ok_or(GuardError::Unserved { api_key, version })?;
    let lengths = if version >= request.flexible { Lengths::Compact } else { Lengths::Plain };
    let mut walk = Walk { body, at: 0, version, lengths, objects: 0, tags: 0 };
    walk.structure(request.body)?;
    match body.len() - walk.at {
        0 => Ok(()),
        count => Err(GuardError::Trailing { count }),
    }
}

fn find(api_key: i16, version: i16) -> Option<&'static Request> {
    let request = REQUESTS.iter().find(|request| request.api_key == api_key)?;
    let (first, last) = request.versions;
    (first..=last).contains(&version).then_some(request)
}

struct Walk<'a> {
    body: &'a [u8],
    /// At most the body's length.
    at: usize,
    version: i16,
    lengths: Lengths,
    objects: u32,
    tags: u32,
}

/// What a length or count said.
enum Said {
    Null,
    Number(u32),
}

impl Walk<'_> {
    fn room(&self) -> usize {
        self.body.len() - self.at
    }

    fn structure(&mut self, shape: &Struct) -> Result<(), GuardError> {
        for field in shape.fields {
            if field.is_in(self.version) {
                self.field(field.name, &field.kind)?;
            }
        }
        match self.lengths {
            Lengths::Plain => Ok(()),
            Lengths::Compact => self.tagged_fields(shape),
        }
    }

    fn field(&mut self, name: &'static str, kind: &Kind) -> Result<(), GuardError> {
        match *kind {
            Kind::Fixed(bytes) => self.skip(name, bytes),
            Kind::Text(null) => {
                let said = match self.lengths {
                    Lengths::Plain => self.plain_16(name)?,
                    Lengths::Compact => self.compact(name)?,
                };
                self.bytes(name, said, null)
            }
            Kind::Blob(null) => {
                let said = self.count(name)?;
                self.bytes(name, said, null)
            }
            Kind::Array(element, null) => self.array(name, element, null),
            Kind::Struct(shape) => self.structure(shape),
            Kind::Optional(shape) => {
                let at = self.at;
                match self.take::<1>(name)? {
                    [1] => self.structure(shape),
                    [0xff] => Ok(()),
                    _ => Err(GuardError::Presence { field: name, at }),
                }
            }
        }
    }

    fn array(&mut self, name: &'static str, element: &Kind, null: Null) -> Result<(), GuardError> {
        let at = self.at;
        let count = match (self.count(name)?, null) {
            (Said::Number(count), _) => count,
            (Said::Null, Null::Legal) => return Ok(()),
            (Said::Null, Null::Never) => return Err(GuardError::Null { field: name, at }),
        };
        let room = self.room();
        if count as usize > room / element.least_bytes(self.version, self.lengths) {
            return Err(GuardError::Count { field: name, count, room, at: self.at });
        }
        self.objects = self.objects.saturating_add(count);
        if self.objects > OBJECTS_MAX {
            return Err(GuardError::Objects { max: OBJECTS_MAX });
        }
        if let Kind::Fixed(bytes) = element {
            return self.skip(name, bytes * count as usize);
        }
        for _ in 0..count {
            self.field(name, element)?;
        }
        Ok(())
    }

    fn tagged_fields(&mut self, shape: &Struct) -> Result<(), GuardError> {
        const NAME: &str = "tagged fields";
        let count = self.varint(NAME)?;
        self.tags = self.tags.saturating_add(count);
        if self.tags > TAGGED_FIELDS_MAX {
            return Err(GuardError::Tags { max: TAGGED_FIELDS_MAX });
        }
        for _ in 0..count {
            let tag = self.varint(NAME)?;
            let size = self.varint(NAME)?;
            let (at, room) = (self.at, self.room());
            if size as usize > room {
                return Err(GuardError::Length { field: NAME, length: size, room, at });
            }
            let end = at + size as usize;
            let known = shape.tags.iter().find(|known| known.tag == tag && known.field.is_in(self.version));
            match known {
                Some(known) => self.known_tag(&known.field, end)?,
                None => self.at = end,
            }
        }
        Ok(())
    }

    /// The codec reads a tag that it knows by its shape alone, so shape and size must agree.
    fn known_tag(&mut self, field: &Field, end: usize) -> Result<(), GuardError> {
        let at = self.at;
        self.field(field.name, &field.kind)?;
        if self.at == end { Ok(()) } else { Err(GuardError::TagSize { field: field.name, at }) }
    }

    fn bytes(&mut self, name: &'static str, said: Said, null: Null) -> Result<(), GuardError> {
        let (at, room) = (self.at, self.room());
        match (said, null) {
            (Said::Number(length), _) if length as usize > room => {
                Err(GuardError::Length { field: name, length, room, at })
            }
            (Said::Number(length), _) => {
                self.at += length as usize;
                Ok(())
            }
            (Said::Null, Null::Legal) => Ok(()),
            (Said::Null, Null::Never) => Err(GuardError::Null { field: name, at }),
        }
    }

    fn count(&mut self, name: &'static str) -> Result<Said, GuardError> {
        match self.lengths {
            Lengths::Plain => {
                let at = self.at;
                said(name, i32::from_be_bytes(self.take(name)?), at)
            }
            Lengths::Compact => self.compact(name),
        }
    }

    fn plain_16(&mut self, name: &'static str) -> Result<Said, GuardError> {
        let at = self.at;
        said(name, i16::from_be_bytes(self.take(name)?).into(), at)
    }

    fn compact(&mut self, name: &'static str) -> Result<Said, GuardError> {
        Ok(match self.varint(name)? {
            0 => Said::Null,
            number => Said::Number(number - 1),
        })
    }

    #[inline]
    fn varint(&mut self, name: &'static str) -> Result<u32, GuardError> {
        let at = self.at;
        let mut value = 0_u32;
        for index in 0..VARINT_BYTES_MAX {
            let [byte] = self.take(name)?;
            // The fifth byte has room for four bits.
            if index == VARINT_BYTES_MAX - 1 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(GuardError::Varint { field: name, at })
    }

    #[inline]
    fn take<const BYTES: usize>(&mut self, name: &'static str) -> Result<[u8; BYTES], GuardError> {
        let rest = self.body.get(self.at..).and_then(|rest| rest.first_chunk());
        let taken = *rest.ok_or(GuardError::Truncated { field: name, at: self.at })?;
        self.at += BYTES;
        Ok(taken)
    }

    #[inline]
    fn skip(&mut self, name: &'static str, bytes: usize) -> Result<(), GuardError> {
        if bytes > self.room() {
            return Err(GuardError::Truncated { field: name, at: self.at });
        }
        self.at += bytes;
        Ok(())
    }
}

fn said(field: &'static str, length: i32, at: usize) -> Result<Said, GuardError> {
    match u32::try_from(length) {
        Ok(number) => Ok(Said::Number(number)),
        Err(_) if length == -1 => Ok(Said::Null),
        Err(_) => Err(GuardError::Negative { field, length, at }),
    }
}
