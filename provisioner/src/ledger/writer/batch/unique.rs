//! What only one may have: serial numbers, keys that authorities made, uses of tokens.

use redb::ReadableTable;

use super::super::super::apply::shipped_key;
use super::super::super::record::{Act, Change, KeyRecord, TokenUse};
use super::super::super::store::LedgerError;
use super::Batch;
use crate::judge::CsrReply;

impl Batch<'_> {
    /// Takes down the serial number of a new certificate; false where another
    /// key's certificate has it.
    pub(super) fn serial_is_new(&mut self, act: &Act) -> Result<bool, LedgerError> {
        let Act::Signed { key, issuance } = act else {
            return Ok(true);
        };
        let serial = issuance.serial.as_str();
        let known = self.serials.get(serial).map_err(self.store.failed())?;
        let holder = known.map(|holder| holder.value() == key.as_str());
        if holder.is_none() {
            self.serials
                .insert(serial, key.as_str())
                .map_err(self.store.failed())?;
        }
        Ok(holder.unwrap_or(true))
    }

    /// One of those who used a token, where as many others did as it is for.
    pub(super) fn used_up(
        &self,
        token: &TokenUse,
        node: &str,
    ) -> Result<Option<String>, LedgerError> {
        let id = token.id.as_str();
        let own = self.tokens.get((id, node)).map_err(self.store.failed())?;
        if own.is_some() {
            return Ok(None);
        }
        // Names are of ASCII, and above all of it is this.
        let users = self.tokens.range((id, "")..(id, "\u{80}"));
        let users = users.map_err(self.store.failed())?;
        let mut last = None;
        let mut left = token.uses;
        for user in users.take(token.uses as usize) {
            let (place, _) = user.map_err(self.store.failed())?;
            last = Some(place.value().1.to_owned());
            left -= 1;
        }
        Ok(last.filter(|_| left == 0))
    }

    /// Another identity that has the key an authority ships with a certificate: it asked with it, or
    /// was shipped it before.
    pub(super) fn shipped_to(&self, change: &Change) -> Result<Option<String>, LedgerError> {
        let Some(name) = shipped_key(&change.act) else {
            return Ok(None);
        };
        let known = self.key(name)?;
        let other = known.filter(|record| record.identity != change.identity);
        Ok(other.map(|record| record.identity))
    }

    /// Takes down a shipped key with those that nodes ask with, so that it is compared with both.
    pub(super) fn keep_shipped(&mut self, change: &Change) -> Result<(), LedgerError> {
        let Some(name) = shipped_key(&change.act) else {
            return Ok(());
        };
        let known = self.key(name)?;
        let mut record =
            known.unwrap_or_else(|| KeyRecord::of(&change.identity, CsrReply::default()));
        if record.identity != change.identity {
            return Ok(());
        }
        record.shipped = true;
        let bytes = self.encode(&record)?;
        self.keys
            .insert(name, bytes.as_slice())
            .map_err(self.store.failed())?;
        Ok(())
    }
}
