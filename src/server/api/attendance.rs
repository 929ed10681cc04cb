//! The requests for what is known of channels: who is in one (`/channels/{name}/presence`), and what operators ask.
//!
//! The broker knows it; how operators' questions read and are answered is in `queries`.

use crate::http::Request;
use crate::hub::ChannelName;
use crate::server::access::Identity;
use crate::server::api::admin::Report;
use crate::server::api::basis::{Basis, Denied};
use crate::server::api::queries;
use crate::server::api::roads::{self, Wish};
use crate::server::api::routes::Route;

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

/// What is to be told about channels: who is in one, to who may see it; the rest to who administers the server.
///
/// # Errors
/// It may not be told, or the request is wrong.
pub fn ask_about_channels(
    route: Route,
    request: &Request,
    who: Option<&Identity>,
    basis: Basis<'_>,
) -> Result<Report, Denied> {
    if let Route::Presence(name) = route {
        return presence(request, name, who, basis);
    }
    basis.access.check_admin(who)?;
    let Route::State(name) = route else {
        return Ok(Report::Channels(queries::page_of(request, basis.apps)?));
    };
    let app = roads::app_of(request, basis.apps)?;
    Ok(Report::Channel(roads::name_in_app(&name, app.as_deref(), basis.apps).unwrap_or(name)))
}
