//! The request for who is in a channel: `/channels/{name}/presence`.
//!
//! Who that is, is known to the broker.

use crate::http::Request;
use crate::hub::ChannelName;
use crate::server::access::Identity;
use crate::server::api::admin::Report;
use crate::server::api::basis::{Basis, Denied};
use crate::server::api::roads::{self, Wish};

/// The channel of which the client is told who is there.
///
/// # Errors
/// It may not be told: it neither administers the server nor may see who is there.
pub fn presence(
    request: &Request,
    name: ChannelName,
    who: Option<&Identity>,
    basis: Basis<'_>,
) -> Result<Report, Denied> {
    let channel = roads::channel_of(request, name, Wish::Subscribe, who, basis)?;
    if basis.access.check_admin(who).is_err() {
        basis.check_sees(basis.access.may_see(who, &channel), &channel)?;
    }
    Ok(Report::Presence(channel))
}
