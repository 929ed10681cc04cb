//! What is answered to requests about channels: to read them, to publish, to ask about them, and to revoke tokens. Who made
//! the request decides.
//!
//! The other routes are in `handlers`.

use std::sync::Arc;

use crate::http::{self, Request, Response, Status, Upgrade};
use crate::hub::{ChannelName, EventName, WireForm};
use crate::server::access::Identity;
use crate::server::api::acceptance::{Acceptance, Becoming, MayPublish, Multiplexing, is_deflated};
use crate::server::api::admin::Report;
use crate::server::api::attendance;
use crate::server::api::basis::{Basis, Denied};
use crate::server::api::batch::Batch;
use crate::server::api::handlers::{Answer, Handlers, Publication, method_not_allowed, upgrade};
use crate::server::api::many;
use crate::server::api::payload::MediaType;
use crate::server::api::queries;
use crate::server::api::roads::{self, Wish};
use crate::server::api::routes::{Door, Route};
use crate::server::broker::idempotency::IdempotencyKey;
use crate::server::encoder::ENVELOPE_SUBPROTOCOL;
use crate::ws::Inbound;

impl Handlers {
    /// What to do about a request to one of these routes. `who` becomes who made it.
    pub(super) fn answer_of_channels(
        &self,
        route: Route,
        request: &Request,
        basis: Basis<'_>,
        who: &mut Option<Arc<Identity>>,
    ) -> Result<Answer, Denied> {
        let Basis { access, apps, .. } = basis;
        match (route, request.method()) {
            (Route::Channel(name), "GET" | "HEAD") => {
                let read = identify(request, who, basis)
                    .and_then(|()| self.read_channel(request, name, who.as_deref(), basis));
                read.or_else(|denied| refuse_readably(request, denied))
            }
            (Route::Channels, "GET") if http::is_upgrade(request) => {
                let begun = identify(request, who, basis).and_then(|()| self.multiplex(request, basis));
                begun.or_else(|denied| refuse_readably(request, denied))
            }
            (Route::Channels, "GET" | "HEAD") if many::names_channels(request) => {
                identify(request, who, basis)?;
                Ok(Answer::ReadMany(many::subscribe(request, who.as_deref(), basis)?))
            }
            (Route::Channels, "GET" | "HEAD") => {
                identify(request, who, basis)?;
                access.check_admin(who.as_deref())?;
                Ok(Answer::Report(Report::Channels(queries::page_of(request, apps)?)))
            }
            (Route::Channels, "POST") => {
                identify(request, who, basis)?;
                access.check_fully_served(request)?;
                let (app, key) = (roads::app_of(request, apps)?, idempotency_key(request)?);
                Ok(Answer::ReadBatch(Box::new(Batch::announced(request, app, key, self.message_len_max))))
            }
            (Route::State(name), "GET" | "HEAD") => {
                identify(request, who, basis)?;
                access.check_admin(who.as_deref())?;
                let app = roads::app_of(request, apps)?;
                let channel = roads::name_in_app(&name, app.as_deref(), apps);
                Ok(Answer::Report(Report::Channel(channel.unwrap_or(name))))
            }
            (Route::Presence(name), "GET" | "HEAD") => {
                *who = basis.guard.identify(access, request, basis.now_s)?;
                Ok(Answer::Report(attendance::presence(request, name, who.as_deref(), basis)?))
            }
            (Route::Channel(name), "POST") => {
                identify(request, who, basis)?;
                self.post_to_channel(request, name, who.as_deref(), basis)
            }
            (Route::Revoke, "POST") => {
                identify(request, who, basis)?;
                access.check_admin(who.as_deref())?;
                Ok(Answer::Revoke)
            }
            (route, method) => Err(method_not_allowed(method, route.allow(Door::Public)).into()),
        }
    }

    fn read_channel(
        &self,
        request: &Request,
        name: ChannelName,
        who: Option<&Identity>,
        basis: Basis<'_>,
    ) -> Result<Answer, Denied> {
        let channel = roads::channel_of(request, name, Wish::Subscribe, who, basis)?;
        basis.check(basis.access.may_subscribe(who, &channel), &channel)?;
        let may_publish = match basis.access.check_fully_served(request) {
            Err(_) => MayPublish::Never,
            Ok(()) => MayPublish::of(&basis.access.may_publish(who, &channel)),
        };
        Ok(self.subscribe(request, channel, may_publish, basis.access.takes_tokens())?)
    }

    fn post_to_channel(
        &self,
        request: &Request,
        name: ChannelName,
        who: Option<&Identity>,
        basis: Basis<'_>,
    ) -> Result<Answer, Denied> {
        let channel = roads::channel_of(request, name, Wish::Publish, who, basis)?;
        basis.access.check_fully_served(request)?;
        basis.check(basis.access.may_publish(who, &channel), &channel)?;
        Ok(self.publish(request, channel)?)
    }

    fn multiplex(&self, request: &Request, basis: Basis<'_>) -> Result<Answer, Denied> {
        let upgrade = upgrade(request)?;
        if !upgrade.offers(ENVELOPE_SUBPROTOCOL) {
            return Err(Response::text(
                Status::BAD_REQUEST,
                "/channels speaks fanfare.v1.json: new WebSocket(url, \"fanfare.v1.json\"), or \
                 Sec-WebSocket-Protocol: fanfare.v1.json. One channel as it is published is at /channels/{name}.",
            )
            .into());
        }
        let deflate = self.deflate(request);
        let form = match is_deflated(deflate) {
            true => WireForm::NamedEnvelopeDeflate,
            false => WireForm::NamedEnvelope,
        };
        let app = roads::app_of(request, basis.apps)?;
        let is_page_served = basis.access.check_fully_served(request).is_ok();
        Ok(Answer::Upgrade(Acceptance {
            upgrade,
            subprotocol: Some(ENVELOPE_SUBPROTOCOL),
            deflate,
            inbound: Inbound::Accept { message_len_max: self.message_len_max },
            becomes: Becoming::Multiplex(Multiplexing { form, app, is_page_served }),
        }))
    }

    fn publish(&self, request: &Request, channel: ChannelName) -> Result<Answer, Response> {
        let event = http::parameter(request.query(), "event").map(|name| EventName::new(&name)).transpose();
        let event = event.map_err(|error| Response::error(Status::BAD_REQUEST, &error))?;
        let key = idempotency_key(request)?;
        let media_type = MediaType::of(request.header_str("content-type"));
        let len_max = self.publication_len_max;
        Ok(Answer::ReadBody(Publication { channel, event, media_type, len_max, key }))
    }
}

fn identify(request: &Request, who: &mut Option<Arc<Identity>>, basis: Basis<'_>) -> Result<(), Denied> {
    *who = basis.guard.identify(basis.access, request, basis.now_s)?;
    Ok(())
}

/// The key that the request gives its publication, or its batch.
fn idempotency_key(request: &Request) -> Result<Option<IdempotencyKey>, Response> {
    let Some(value) = request.header("idempotency-key") else { return Ok(None) };
    let key = IdempotencyKey::new(value).ok_or_else(|| {
        let sentence = "Idempotency-Key is 1 to 255 visible ASCII characters, such as a UUID.";
        Response::text(Status::BAD_REQUEST, sentence)
    });
    key.map(Some)
}

/// A refusal in a form that the page can read which made the request: browsers hide the answer to a handshake, so a client
/// of envelopes is told after it.
fn refuse_readably(request: &Request, denied: Denied) -> Result<Answer, Denied> {
    let Denied::Refusal(refusal) = denied else { return Err(denied) };
    match Upgrade::from_request(request) {
        Ok(upgrade) if upgrade.offers(ENVELOPE_SUBPROTOCOL) => Ok(Answer::Upgrade(Acceptance {
            upgrade,
            subprotocol: Some(ENVELOPE_SUBPROTOCOL),
            deflate: None,
            inbound: Inbound::Refuse,
            becomes: Becoming::Refused(refusal),
        })),
        Ok(_) | Err(_) => Err(Denied::Refusal(refusal)),
    }
}
