//! The body of a batch send: entries one behind the other.
//!
//! ```text
//! total size 4 │ magic 4 (0) │ body CRC 4 (0) │ flag 4 │ body 4 + n │ properties 2 + n
//! ```

use std::borrow::Cow;

/// An entry with nothing in it.
const ENTRY_BYTES_MIN: usize = 22;

/// One message of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchEntry<'a> {
    /// The user's flag.
    pub flag: i32,
    /// Message body.
    pub body: &'a [u8],
    /// Properties text; bytes that are not UTF-8 are replaced, as they are in single sends.
    pub properties: Cow<'a, str>,
}

/// Why a batch body is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
#[error("batch entry at byte {position}: {what}")]
pub struct BatchError {
    /// Where the bad entry starts.
    pub position: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

/// The entries of a batch body. After the first error the iterator ends.
pub fn entries(body: &[u8]) -> impl Iterator<Item = Result<BatchEntry<'_>, BatchError>> {
    let mut position = 0;
    std::iter::from_fn(move || {
        if position >= body.len() {
            return None;
        }
        let parsed = parse(&body[position..]).map_err(|what| BatchError { position, what });
        position = match &parsed {
            Ok((_, bytes)) => position + bytes,
            Err(_) => body.len(),
        };
        Some(parsed.map(|(entry, _)| entry))
    })
}

/// The entry at the start of `bytes`, and its size.
fn parse(bytes: &[u8]) -> Result<(BatchEntry<'_>, usize), &'static str> {
    let total = bytes.first_chunk().map(|field| u32::from_be_bytes(*field) as usize).ok_or("cut")?;
    if total < ENTRY_BYTES_MIN {
        return Err("its size is below that of an empty entry");
    }
    let entry = bytes.get(..total).ok_or("it is longer than the batch")?;
    let (fixed, rest) = entry.split_at(16);
    let flag = i32::from_be_bytes([fixed[12], fixed[13], fixed[14], fixed[15]]);
    let (body_bytes, rest) = rest.split_first_chunk().ok_or("no room for the body length")?;
    let (body, rest) = rest
        .split_at_checked(u32::from_be_bytes(*body_bytes) as usize)
        .ok_or("body is longer than the entry")?;
    let (properties_bytes, properties) =
        rest.split_first_chunk().ok_or("no room for the properties length")?;
    if usize::from(u16::from_be_bytes(*properties_bytes)) != properties.len() || properties.len() > 32_767 {
        return Err("properties do not end with the entry");
    }
    Ok((BatchEntry { flag, body, properties: String::from_utf8_lossy(properties) }, total))
}

/// Appends one entry to a batch body.
///
/// # Panics
/// Body or properties exceed their length fields.
pub fn write_entry(out: &mut Vec<u8>, flag: i32, body: &[u8], properties: &str) {
    let total = ENTRY_BYTES_MIN + body.len() + properties.len();
    let total = u32::try_from(total).unwrap_or_else(|_| panic!("batch entry of {total} bytes"));
    assert!(properties.len() <= 32_767, "properties of {} bytes", properties.len());
    out.extend_from_slice(&total.to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&flag.to_be_bytes());
    out.extend_from_slice(&(body.len() as u32).to_be_bytes());
    out.extend_from_slice(body);
    out.extend_from_slice(&(properties.len() as u16).to_be_bytes());
    out.extend_from_slice(properties.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back() {
        let mut batch = Vec::new();
        write_entry(&mut batch, 7, b"one", "TAGS\u{1}a\u{2}");
        write_entry(&mut batch, 0, b"", "");
        let read: Vec<_> = entries(&batch).collect::<Result<_, _>>().expect("what was written");
        assert_eq!(read[0], BatchEntry { flag: 7, body: b"one", properties: "TAGS\u{1}a\u{2}".into() });
        assert_eq!(read[1], BatchEntry { flag: 0, body: b"", properties: "".into() });
        assert_eq!(read.len(), 2);
        for cut in 1..batch.len() {
            let whole = entries(&batch[..cut]).collect::<Result<Vec<_>, _>>();
            assert_eq!(whole.is_ok(), cut == 32, "cut at {cut}");
        }
    }

    #[test]
    fn bad_lengths_are_refused_with_their_place() {
        let mut batch = Vec::new();
        write_entry(&mut batch, 0, b"body", "");
        write_entry(&mut batch, 0, b"body", "");
        batch[26 + 19] = 5;
        let error = entries(&batch).find_map(Result::err).expect("body length 5 of 4");
        assert_eq!(error.to_string(), "batch entry at byte 26: no room for the properties length");
        let error = entries(&[0, 0, 0, 21, 0, 0]).next().and_then(Result::err).expect("too small");
        assert_eq!(error.what, "its size is below that of an empty entry");
    }
}
