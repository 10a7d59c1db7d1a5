-- Where logs stand.
-- KEYS: limit of the partition, meta of each log. ARGV: replication id, fresh nonce.
-- Returns the nonce and the offset of the newest message of each; two empty texts where there never was one.
local tops = {}
for place = 2, #KEYS do
    local key = KEYS[place]
    local meta = redis.call('HMGET', key, 'nonce', 'primary', 'top')
    local nonce, top = meta[1] or '', meta[3] or ''
    if meta[1] and meta[2] ~= ARGV[1] then
        -- What another primary acknowledged may be lost: no offset that it may have given is given again.
        local jumped = tonumber(top) + JUMP
        nonce, top = ARGV[2], digits(jumped)
        redis.call('HSET', key, 'nonce', nonce, 'primary', ARGV[1], 'top', top, 'base', top, 'covered', digits(cover(KEYS[1], jumped)))
    end
    tops[2 * place - 3], tops[2 * place - 2] = nonce, top
end
return tops
