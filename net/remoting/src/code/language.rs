//! The language a peer says it is written in.

/// Language of the sender of a command: a name in JSON headers, a byte in ROCKETMQ headers. Unknown ones are
/// no error.
///
/// RingMQ sends [`Language::Java`]: that is what the reference sends, and the enum of clients up to 4.4 has
/// no `RUST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Language {
    Java,
    Cpp,
    DotNet,
    Python,
    Delphi,
    Erlang,
    Ruby,
    Other,
    Http,
    Go,
    Php,
    Oms,
    Rust,
    NodeJs,
    /// Absent, or a name or number that is not in the table.
    Unknown,
}

/// In the order of their bytes.
const TABLE: [(Language, &str); 14] = [
    (Language::Java, "JAVA"),
    (Language::Cpp, "CPP"),
    (Language::DotNet, "DOTNET"),
    (Language::Python, "PYTHON"),
    (Language::Delphi, "DELPHI"),
    (Language::Erlang, "ERLANG"),
    (Language::Ruby, "RUBY"),
    (Language::Other, "OTHER"),
    (Language::Http, "HTTP"),
    (Language::Go, "GO"),
    (Language::Php, "PHP"),
    (Language::Oms, "OMS"),
    (Language::Rust, "RUST"),
    (Language::NodeJs, "NODE_JS"),
];

impl Language {
    /// Of a ROCKETMQ header's byte.
    pub fn from_byte(byte: u8) -> Language {
        TABLE.get(usize::from(byte)).map_or(Language::Unknown, |(language, _)| *language)
    }

    /// Of a JSON header's name.
    pub fn from_name(name: &[u8]) -> Language {
        // Nearly every client is one of the first ten; a linear look over 14 short names costs less than a
        // hash.
        TABLE
            .iter()
            .find(|(_, known)| known.as_bytes() == name)
            .map_or(Language::Unknown, |(language, _)| *language)
    }

    /// The byte for a ROCKETMQ header; [`Language::Unknown`] goes out as `OTHER`.
    pub fn byte(self) -> u8 {
        match self {
            Language::Unknown => Language::Other as u8,
            known => known as u8,
        }
    }

    /// The name for a JSON header; [`Language::Unknown`] goes out as `OTHER`.
    pub fn name(self) -> &'static str {
        TABLE[usize::from(self.byte())].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_bytes_agree() {
        for (position, (language, name)) in TABLE.iter().enumerate() {
            assert_eq!(usize::from(language.byte()), position);
            assert_eq!(language.name(), *name);
            assert_eq!(Language::from_byte(position as u8), *language);
            assert_eq!(Language::from_name(name.as_bytes()), *language);
        }
        assert_eq!(Language::from_name(b"KOTLIN"), Language::Unknown);
        assert_eq!(Language::from_byte(200), Language::Unknown);
        assert_eq!(Language::Unknown.name(), "OTHER");
    }
}
