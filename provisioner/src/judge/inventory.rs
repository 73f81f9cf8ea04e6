//! The judgement of an inventory: what a node says about itself.

use serde_json::Value;

use crate::code::{Code, Refusal};

/// The most an inventory may be, bytes of JSON.
const MAX_INVENTORY: usize = 256 * 1024;

/// Judges what a node answered to `inventory`: an object that is not too large. What stands in it is the
/// node's word and stays that.
///
/// # Errors
/// `inventory.too_large`, `inventory.parse`.
pub fn judge_inventory(found: Value) -> Result<Value, Refusal> {
    let size = serde_json::to_vec(&found).map_or(usize::MAX, |bytes| bytes.len());
    if size > MAX_INVENTORY {
        let says = format!("its inventory has {size} bytes; at most {MAX_INVENTORY} are taken");
        return Err(Refusal::new(Code::InventoryTooLarge, says));
    }
    if !found.is_object() {
        let says = "its inventory is no JSON object";
        return Err(Refusal::new(Code::InventoryParse, says));
    }
    Ok(found)
}
