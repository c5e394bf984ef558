//! The words in which the shapes of requests are written down.

/// The last version of a field that is still there.
const FOR_EVER: i16 = i16::MAX;

/// One API's request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) api_key: i16,
    /// The first and the last version that the codec knows.
    pub(super) versions: (i16, i16),
    /// From this version on lengths are compact and every struct ends with tagged fields.
    pub(super) flexible: i16,
    pub(super) body: &'static Struct,
}

/// Fields in their order on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) struct Struct {
    pub(super) fields: &'static [Field],
    /// The tagged fields that the codec looks into.
    pub(super) tags: &'static [Tag],
}

/// A field that is there in some versions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) since: i16,
    pub(super) until: i16,
    pub(super) kind: Kind,
}

/// A tagged field that is looked into from a version on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tag {
    pub(super) tag: u32,
    pub(super) field: Field,
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// So many bytes.
    Fixed(usize),
    /// A length of 16 bits, or a compact one, and bytes.
    Text(Null),
    /// A length of 32 bits, or a compact one, and bytes.
    Blob(Null),
    /// A count of 32 bits, or a compact one, and elements.
    Array(&'static Kind, Null),
    /// Fields.
    Struct(&'static Struct),
    /// A byte that says whether fields follow, and they.
    Optional(&'static Struct),
}

/// Whether a field may be null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Null {
    Never,
    Legal,
}

impl Request {
    pub(super) const fn new(
        api_key: i16,
        versions: (i16, i16),
        flexible: i16,
        body: &'static Struct,
    ) -> Request {
        Request { api_key, versions, flexible, body }
    }
}

impl Struct {
    pub(super) const fn of(fields: &'static [Field]) -> Struct {
        Struct { fields, tags: &[] }
    }

    pub(super) const fn tagged(fields: &'static [Field], tags: &'static [Tag]) -> Struct {
        Struct { fields, tags }
    }
}

impl Field {
    pub(super) fn is_in(&self, version: i16) -> bool {
        self.since <= version && version <= self.until
    }

    pub(super) const fn since(self, version: i16) -> Field {
        Field { since: version, ..self }
    }

    pub(super) const fn until(self, version: i16) -> Field {
        Field { until: version, ..self }
    }

    pub(super) const fn tag(self, tag: u32) -> Tag {
        Tag { tag, field: self }
    }
}

impl Kind {
    /// The fewest bytes that this takes on the wire; at least 1, so that no count is believed without bytes behind it.
    pub(super) fn least_bytes(&self, version: i16, lengths: Lengths) -> usize {
        let least = match self {
            Kind::Fixed(bytes) => *bytes,
            Kind::Text(_) => lengths.pick(2, 1),
            Kind::Blob(_) | Kind::Array(..) => lengths.pick(4, 1),
            Kind::Optional(_) => 1,
            Kind::Struct(inner) => {
                let present = inner.fields.iter().filter(|field| field.is_in(version));
                let fields: usize = present.map(|field| field.kind.least_bytes(version, lengths)).sum();
                fields + lengths.pick(0, 1)
            }
        };
        least.max(1)
    }
}

/// How lengths and counts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lengths {
    /// 16 or 32 bits.
    Plain,
    /// Variable, one more than the number; 0 is null.
    Compact,
}

impl Lengths {
    fn pick(self, plain: usize, compact: usize) -> usize {
        match self {
            Lengths::Plain => plain,
            Lengths::Compact => compact,
        }
    }
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, since: 0, until: FOR_EVER, kind }
}

pub(super) const fn boolean(name: &'static str) -> Field {
    field(name, Kind::Fixed(1))
}

pub(super) const fn int8(name: &'static str) -> Field {
    field(name, Kind::Fixed(1))
}

pub(super) const fn int16(name: &'static str) -> Field {
    field(name, Kind::Fixed(2))
}

pub(super) const fn int32(name: &'static str) -> Field {
    field(name, Kind::Fixed(4))
}

pub(super) const fn int64(name: &'static str) -> Field {
    field(name, Kind::Fixed(8))
}

pub(super) const fn uuid(name: &'static str) -> Field {
    field(name, Kind::Fixed(16))
}

pub(super) const fn string(name: &'static str) -> Field {
    field(name, Kind::Text(Null::Never))
}

pub(super) const fn nullable_string(name: &'static str) -> Field {
    field(name, Kind::Text(Null::Legal))
}

pub(super) const fn nullable_bytes(name: &'static str) -> Field {
    field(name, Kind::Blob(Null::Legal))
}

pub(super) const fn structure(name: &'static str, of: &'static Struct) -> Field {
    field(name, Kind::Struct(of))
}

pub(super) const fn optional(name: &'static str, of: &'static Struct) -> Field {
    field(name, Kind::Optional(of))
}

pub(super) const fn array(name: &'static str, of: &'static Kind) -> Field {
    field(name, Kind::Array(of, Null::Never))
}

pub(super) const fn nullable_array(name: &'static str, of: &'static Kind) -> Field {
    field(name, Kind::Array(of, Null::Legal))
}

pub(super) const fn int32s(name: &'static str) -> Field {
    array(name, &Kind::Fixed(4))
}
