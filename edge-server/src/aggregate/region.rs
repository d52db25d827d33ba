//! Where a household is, as far as its token says.

use std::fmt;
use thiserror::Error;

/// What the text of a region looks like.
pub const REGION_PATTERN: &str = "^[A-Za-z]{2}(-[A-Za-z0-9]{1,3})?$";

/// A text is no region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a region is a country (ISO 3166-1 alpha-2, such as DE) or a part of one (DE-BY)")]
pub struct NoRegion;

/// A country (ISO 3166-1 alpha-2), or a part of one (ISO 3166-2), in upper case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(Box<str>);

impl Region {
    /// Checks the form: two letters, or these, a hyphen and one to three letters or digits. Which codes
    /// exist changes every year and is not checked.
    ///
    /// # Errors
    /// It has another form.
    pub fn new(text: &str) -> Result<Self, NoRegion> {
        let (country, part) = match text.split_once('-') {
            Some((country, part)) => (country, Some(part)),
            None => (text, None),
        };
        let is_country = country.len() == 2 && country.bytes().all(|c| c.is_ascii_alphabetic());
        let is_part = part.is_none_or(|part| {
            (1..=3).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_alphanumeric())
        });
        if is_country && is_part {
            Ok(Self(text.to_ascii_uppercase().into()))
        } else {
            Err(NoRegion)
        }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The country it is, or is in.
    pub fn country(&self) -> Self {
        Self(self.0[..2].into())
    }

    /// Whether it is a part of a country.
    pub fn is_part(&self) -> bool {
        self.0.len() > 2
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use omega_sync_core::pattern::exchange::REGION_NAME_BYTES_MAX;

    #[test]
    fn a_region_has_its_form() {
        for (text, country) in [("DE", "DE"), ("de-by", "DE"), ("GB-ENG", "GB"), ("US-1", "US")] {
            let region = Region::new(text).unwrap();
            assert_eq!(region.country().as_str(), country);
            assert_eq!(region.is_part(), text.len() > 2);
            assert!(text.len() <= REGION_NAME_BYTES_MAX, "it fits an answer");
            assert_eq!(region.as_str(), text.to_ascii_uppercase());
        }
        for text in ["", "D", "DEU", "D3", "DE-", "DE-BAYE", "DE-B_", "-BY", "DE-BY-1", "ÄÖ", "DÉ"]
        {
            assert_eq!(Region::new(text), Err(NoRegion), "{text}");
        }
    }
}
