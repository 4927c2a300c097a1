//! Protobuf's wire format: as much as it takes to read a message field by field and write another.
//!
//! <https://protobuf.dev/programming-guides/encoding/>

/// The fields of a message, in their order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

/// A field of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub number: u64,
    pub content: Content<'a>,
    /// All bytes of the field, its tag included.
    pub encoded: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Content<'a> {
    Varint(u64),
    /// A string, an inner message or packed numbers.
    Bytes(&'a [u8]),
    /// A number of 4 or 8 bytes.
    Fixed,
}

/// Bytes that are no message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Malformed<'a> {
    pub problem: &'static str,
    /// From the place of the problem to the end of the message.
    pub rest: &'a [u8],
}

impl<'a> Field<'a> {
    /// The content of a field of bytes; empty for others.
    pub fn bytes(&self) -> &'a [u8] {
        match self.content {
            Content::Bytes(bytes) => bytes,
            _ => &[],
        }
    }
}

impl<'a> Fields<'a> {
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Result<Field<'a>, Malformed<'a>> {
        let start = self.rest;
        let tag = self.varint()?;
        // Protobuf reads 32 bits of it: with more it would see another field than is seen here.
        if tag > u64::from(u32::MAX) {
            return Err(self.malformed("a field number that is too large"));
        }
        let content = match tag & 7 {
            0 => Content::Varint(self.varint()?),
            1 => self.take(8).map(|_| Content::Fixed)?,
            2 => {
                let length = self.varint()?;
                Content::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Content::Fixed)?,
            // Groups (3, 4) do not occur in ONNX, 6 and 7 are not defined.
            _ => return Err(self.malformed("a field of unknown type")),
        };
        Ok(Field {
            number: tag >> 3,
            content,
            encoded: &start[..start.len() - self.rest.len()],
        })
    }

    fn varint(&mut self) -> Result<u64, Malformed<'a>> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            // The tenth byte has room for one bit.
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.malformed("a number that is too long"))
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], Malformed<'a>> {
        let split = usize::try_from(count)
            .ok()
            .and_then(|count| self.rest.split_at_checked(count));
        let (content, rest) = split.ok_or_else(|| self.malformed("a field cut short"))?;
        self.rest = rest;
        Ok(content)
    }

    fn malformed(&self, problem: &'static str) -> Malformed<'a> {
        Malformed {
            problem,
            rest: self.rest,
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed<'a>>;

    /// After an error there are no more.
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Append a field of bytes to a message.
pub(crate) fn put_bytes(message: &mut Vec<u8>, number: u64, content: &[u8]) {
    put_varint(message, number << 3 | 2);
    put_varint(message, content.len() as u64);
    message.extend_from_slice(content);
}

/// Append a field of an integer to a message.
pub(crate) fn put_integer(message: &mut Vec<u8>, number: u64, value: u64) {
    put_varint(message, number << 3);
    put_varint(message, value);
}

fn put_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_put_is_read(number in 1u64..1 << 29, value: u64, content: Vec<u8>) {
            let mut message = Vec::new();
            put_integer(&mut message, number, value);
            put_bytes(&mut message, number, &content);
            let fields: Vec<Field<'_>> = Fields::new(&message).map(Result::unwrap).collect();
            prop_assert_eq!(fields.len(), 2);
            prop_assert!(fields.iter().all(|field| field.number == number));
            prop_assert!(matches!(fields[0].content, Content::Varint(found) if found == value));
            prop_assert_eq!(fields[1].bytes(), &content[..]);
            prop_assert_eq!([fields[0].encoded, fields[1].encoded].concat(), message);
        }

        #[test]
        fn any_bytes_end(bytes: Vec<u8>) {
            let fields: Vec<_> = Fields::new(&bytes).collect();
            let malformed = fields.iter().filter(|field| field.is_err()).count();
            let read: usize = fields.iter().flatten().map(|field| field.encoded.len()).sum();
            prop_assert!(malformed == 1 || read == bytes.len());
        }
    }
}
