-- Which gateways are lost, without asking each: of those that ever were, the ones with nothing newer.

CREATE INDEX liveness_lost ON liveness (gateway, pos) WHERE NOT alive;
