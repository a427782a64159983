-- G3-PLC for Wireshark and tshark: what their own dissectors for 802.15.4, 6LoWPAN, UDP and EAP leave open.
--   LBP      40 02   bootstrapping, its EAP packet handed to Wireshark's EAP dissector, its configuration parameters
--   LOADng   40 01   routing
--   beacon, tone map response    route cost to the coordinator; modulation, tones and LQI
--   DLMS     UDP 4059   the wrapper of IEC 62056-47, the APDU's kind and what of it is not ciphered
-- Use: tshark -X lua_script:g3.lua --disable-heuristic classicstun_udp -o 6lowpan.context0:fe80::781d:0:0:0/80 -r street.pcapng
-- (781d: the PAN). Sources: ITU-T G.9903, RFC 4944, IEC 62056-47, IEC 62056-5-3.

local function names(of)
  return function(value)
    return of[value] or string.format("unknown (%02X)", value)
  end
end

-- LBP ------------------------------------------------------------------------------------------------------------

local lbp = Proto("g3_lbp", "G3-PLC Bootstrapping Protocol")
local LBP_CODES = {
  [0x1] = "JOINING", [0x4] = "KICK from device", [0x9] = "ACCEPTED",
  [0xA] = "CHALLENGE", [0xB] = "DECLINE", [0xC] = "KICK to device",
}
local PARAMETERS = { [7] = "short address", [9] = "GMK", [10] = "GMK activation", [11] = "GMK removal", [12] = "parameter result" }
local f_lbp_code = ProtoField.uint8("g3_lbp.code", "Code", base.HEX, LBP_CODES, 0xF0)
local f_lbp_media = ProtoField.uint8("g3_lbp.media", "Media", base.DEC, { [0] = "power line", [1] = "radio" }, 0x08)
local f_lbp_backup = ProtoField.bool("g3_lbp.disable_backup", "Disable backup medium", 8, nil, 0x04)
local f_lbp_eui64 = ProtoField.eui64("g3_lbp.eui64", "Device")
local f_lbp_parameter = ProtoField.uint8("g3_lbp.parameter", "Parameter", base.DEC, PARAMETERS, 0xFC)
local f_lbp_specific = ProtoField.bool("g3_lbp.pan_specific", "PAN-specific", 8, nil, 0x02)
local f_lbp_value = ProtoField.bytes("g3_lbp.value", "Value")
lbp.fields = { f_lbp_code, f_lbp_media, f_lbp_backup, f_lbp_eui64, f_lbp_parameter, f_lbp_specific, f_lbp_value }
local e_lbp_short = ProtoExpert.new("g3_lbp.short", "LBP message cut short", expert.group.MALFORMED, expert.severity.ERROR)
lbp.experts = { e_lbp_short }
local code_name = names(LBP_CODES)

local function parameters(data, tree)
  local at = 0
  while at + 2 <= data:len() do
    local size = data(at + 1, 1):uint()
    if at + 2 + size > data:len() then
      tree:add_proto_expert_info(e_lbp_short)
      return
    end
    local one = tree:add(lbp, data(at, 2 + size), "Parameter: " .. names(PARAMETERS)(bit.rshift(data(at, 1):uint(), 2)))
    one:add(f_lbp_parameter, data(at, 1))
    one:add(f_lbp_specific, data(at, 1))
    if size > 0 then
      one:add(f_lbp_value, data(at + 2, size))
    end
    at = at + 2 + size
  end
end

local function eap(data, pinfo, tree)
  local bytes = data:bytes()
  bytes:set_index(0, bit.rshift(bytes:get_index(0), 2)) -- G3 shifts the code by two bits
  Dissector.get("eap"):call(bytes:tvb("EAP"), pinfo, tree)
end

function lbp.dissector(tvb, pinfo, tree)
  pinfo.cols.protocol = "LBP"
  local sub = tree:add(lbp, tvb())
  if tvb:len() < 12 then
    sub:add_proto_expert_info(e_lbp_short)
    return tvb:len()
  end
  sub:add(f_lbp_code, tvb(2, 1))
  sub:add(f_lbp_media, tvb(2, 1))
  sub:add(f_lbp_backup, tvb(2, 1))
  sub:add(f_lbp_eui64, tvb(4, 8))
  local said = code_name(bit.rshift(tvb(2, 1):uint(), 4))
  sub:append_text(", " .. said)
  if tvb:len() > 12 then
    local data = tvb(12)
    if bit.band(data(0, 1):uint(), 1) == 1 then
      parameters(data, sub)
    else
      eap(data, pinfo, sub)
    end
  end
  pinfo.cols.protocol = "LBP"
  pinfo.cols.info = said .. " " .. tostring(tvb(4, 8))
  return tvb:len()
end

-- LOADng ---------------------------------------------------------------------------------------------------------

local loadng = Proto("g3_loadng", "G3-PLC LOADng")
local KINDS = {
  [0x00] = "RREQ", [0x01] = "RREP", [0x02] = "RERR", [0xFC] = "PREQ", [0xFD] = "PREP", [0xFE] = "RLCREQ", [0xFF] = "RLCREP",
}
local LENGTHS = { [0x00] = 14, [0x01] = 14, [0x02] = 11, [0xFC] = 11, [0xFD] = 11, [0xFE] = 8, [0xFF] = 9 } -- at least
local f_kind = ProtoField.uint8("g3_loadng.type", "Type", base.HEX, KINDS)
local f_destination = ProtoField.uint16("g3_loadng.destination", "Destination", base.HEX)
local f_originator = ProtoField.uint16("g3_loadng.originator", "Originator", base.HEX)
local f_expected = ProtoField.uint16("g3_loadng.expected", "Expected originator", base.HEX)
local f_sequence = ProtoField.uint16("g3_loadng.sequence", "Sequence number", base.DEC)
local f_repair = ProtoField.bool("g3_loadng.repair", "Route repair", 8, nil, 0x80)
local f_unicast = ProtoField.bool("g3_loadng.unicast", "Unicast RREQ", 8, nil, 0x40)
local f_metric = ProtoField.uint8("g3_loadng.metric", "Metric", base.HEX, { [0xF] = "composite" }, 0x3C)
local f_cost = ProtoField.uint16("g3_loadng.cost", "Route cost", base.DEC)
local f_limit = ProtoField.uint8("g3_loadng.hop_limit", "Hop limit", base.DEC, nil, 0xF0)
local f_count = ProtoField.uint8("g3_loadng.hop_count", "Hop count", base.DEC, nil, 0x0F)
local f_weak = ProtoField.uint8("g3_loadng.weak_links", "Weak links", base.DEC, nil, 0xF0)
local f_error = ProtoField.uint8("g3_loadng.error", "Error", base.DEC)
local f_unreachable = ProtoField.uint16("g3_loadng.unreachable", "Unreachable", base.HEX)
local f_hop = ProtoField.bytes("g3_loadng.hop", "Hop")
local f_hop_address = ProtoField.uint16("g3_loadng.hop.address", "Address", base.HEX)
local f_hop_flags = ProtoField.uint8("g3_loadng.hop.flags", "Flags", base.HEX)
local f_hop_cost = ProtoField.uint8("g3_loadng.hop.cost", "Link cost", base.DEC)
local f_link_cost = ProtoField.uint8("g3_loadng.link_cost", "Reverse link cost", base.DEC)
loadng.fields = {
  f_kind, f_destination, f_originator, f_expected, f_sequence, f_repair, f_unicast, f_metric, f_cost, f_limit, f_count, f_weak,
  f_error, f_unreachable, f_hop, f_hop_address, f_hop_flags, f_hop_cost, f_link_cost,
}
local e_loadng_short = ProtoExpert.new("g3_loadng.short", "LOADng message cut short", expert.group.MALFORMED, expert.severity.ERROR)
loadng.experts = { e_loadng_short }

local function hops(tvb, at, tree)
  while at + 4 <= tvb:len() do
    local hop = tree:add(f_hop, tvb(at, 4))
    hop:add(f_hop_address, tvb(at, 2))
    hop:add(f_hop_flags, tvb(at + 2, 1))
    hop:add(f_hop_cost, tvb(at + 3, 1))
    at = at + 4
  end
end

local function route_message(tvb, tree)
  tree:add(f_sequence, tvb(7, 2))
  tree:add(f_repair, tvb(9, 1))
  tree:add(f_unicast, tvb(9, 1))
  tree:add(f_metric, tvb(9, 1))
  tree:add(f_cost, tvb(10, 2))
  tree:add(f_limit, tvb(12, 1))
  tree:add(f_count, tvb(12, 1))
  tree:add(f_weak, tvb(13, 1))
  return string.format(", cost %d, %d hops", tvb(10, 2):uint(), bit.band(tvb(12, 1):uint(), 15))
end

function loadng.dissector(tvb, pinfo, tree)
  pinfo.cols.protocol = "LOADng"
  local sub = tree:add(loadng, tvb())
  local kind = tvb:len() > 2 and tvb(2, 1):uint() or -1
  if tvb:len() < (LENGTHS[kind] or 7) then
    sub:add_proto_expert_info(e_loadng_short)
    return tvb:len()
  end
  sub:add(f_kind, tvb(2, 1))
  sub:add(f_destination, tvb(3, 2))
  sub:add(kind == 0xFD and f_expected or f_originator, tvb(5, 2))
  local said = string.format("%s %04X to %04X", names(KINDS)(kind), tvb(5, 2):uint(), tvb(3, 2):uint())
  if kind == 0x00 or kind == 0x01 then
    said = said .. route_message(tvb, sub)
  elseif kind == 0x02 then
    sub:add(f_error, tvb(7, 1))
    sub:add(f_unreachable, tvb(8, 2))
    sub:add(f_limit, tvb(10, 1))
    said = said .. string.format(", %04X unreachable", tvb(8, 2):uint())
  elseif kind == 0xFC then
    hops(tvb, 11, sub)
  elseif kind == 0xFD then
    sub:add(f_originator, tvb(9, 2))
    hops(tvb, 11, sub)
  elseif kind == 0xFF then
    sub:add(f_link_cost, tvb(8, 1))
  end
  sub:append_text(", " .. said)
  pinfo.cols.info = said
  return tvb:len()
end

-- where both stand: alone, or behind a mesh header that 6LoWPAN would read, but not what follows ------------------

local g3 = Proto("g3_mesh", "G3-PLC mesh header")
local f_hops_left = ProtoField.uint8("g3_mesh.hops_left", "Hops left", base.DEC)
local f_mesh_from = ProtoField.uint16("g3_mesh.originator", "Originator", base.HEX)
local f_mesh_to = ProtoField.uint16("g3_mesh.final", "Final destination", base.HEX)
local f_mesh_sequence = ProtoField.uint8("g3_mesh.broadcast", "Broadcast sequence number", base.DEC)
local f_rc_coord = ProtoField.uint16("g3_mesh.rc_coord", "Route cost to the coordinator", base.DEC)
g3.fields = { f_hops_left, f_mesh_from, f_mesh_to, f_mesh_sequence, f_rc_coord }

local function escaped(tvb, at)
  if tvb:len() < at + 3 or tvb(at, 1):uint() ~= 0x40 then
    return nil
  end
  return ({ [1] = loadng, [2] = lbp })[tvb(at + 1, 1):uint()]
end

local function behind_mesh(tvb)
  local at = bit.band(tvb(0, 1):uint(), 15) == 15 and 6 or 5
  if tvb:len() > at + 2 and tvb(at, 1):uint() == 0x50 then
    return at, at + 2
  end
  return at, at
end

local function frame(tvb, pinfo, tree)
  if tvb:len() < 3 then
    return false
  end
  local found, at = escaped(tvb, 0), 0
  if found == nil and bit.band(tvb(0, 1):uint(), 0xF0) == 0xB0 then
    local mesh
    mesh, at = behind_mesh(tvb)
    found = escaped(tvb, at)
    if found ~= nil then
      local sub = tree:add(g3, tvb(0, at))
      sub:add(f_hops_left, tvb(0, 1), mesh == 6 and tvb(1, 1):uint() or bit.band(tvb(0, 1):uint(), 15))
      sub:add(f_mesh_from, tvb(mesh - 4, 2))
      sub:add(f_mesh_to, tvb(mesh - 2, 2))
      if at > mesh then
        sub:add(f_mesh_sequence, tvb(mesh + 1, 1))
      end
    end
  end
  if found == nil then
    return false
  end
  found.dissector(tvb(at):tvb(), pinfo, tree)
  return true
end

local function beacon(tvb, pinfo, tree)
  if tvb:len() ~= 2 then
    return false
  end
  tree:add(g3, tvb(), "G3-PLC beacon"):add(f_rc_coord, tvb(), tvb(0, 2):le_uint())
  pinfo.cols.info = string.format("Beacon, route cost %d", tvb(0, 2):le_uint())
  return true
end

g3:register_heuristic("wpan", frame)
g3:register_heuristic("wpan.beacon", beacon)

-- the MAC command 0A is G3's tone map response; 802.15.4 has something else there ---------------------------------

local tone = Proto("g3_tone_map", "G3-PLC tone map response")
local MODULATIONS = { [0] = "ROBO", [1] = "DBPSK", [2] = "DQPSK", [3] = "D8PSK" }
local f_modulation = ProtoField.uint8("g3_tone_map.modulation", "Modulation", base.DEC, MODULATIONS)
local f_tones = ProtoField.uint8("g3_tone_map.tones", "Tone map", base.HEX)
local f_lqi = ProtoField.uint8("g3_tone_map.lqi", "LQI", base.DEC)
tone.fields = { f_modulation, f_tones, f_lqi }
local command = Field.new("wpan.cmd")

function tone.dissector(tvb, pinfo, tree)
  local found = command()
  if found == nil or found.value ~= 0x0A or tvb:len() < found.offset + 4 then
    return
  end
  local body = tvb(found.offset + 1)
  local sub = tree:add(tone, body)
  sub:add(f_modulation, body(0, 1))
  sub:add(f_tones, body(1, 1))
  sub:add(f_lqi, body(2, 1))
  pinfo.cols.info = string.format("Tone map response, %s, LQI %d", names(MODULATIONS)(body(0, 1):uint()), body(2, 1):uint())
end

register_postdissector(tone)

-- DLMS -----------------------------------------------------------------------------------------------------------

local dlms = Proto("dlms_wrapper", "DLMS/COSEM")
local APDUS = {
  [0x01] = "initiate-request", [0x08] = "initiate-response", [0x0E] = "confirmed-service-error", [0x0F] = "data-notification",
  [0x60] = "AARQ", [0x61] = "AARE", [0x62] = "RLRQ", [0x63] = "RLRE",
  [0xC0] = "get-request", [0xC1] = "set-request", [0xC2] = "event-notification", [0xC3] = "action-request",
  [0xC4] = "get-response", [0xC5] = "set-response", [0xC7] = "action-response",
  [0xC8] = "glo-get-request", [0xC9] = "glo-set-request", [0xCA] = "glo-event-notification", [0xCB] = "glo-action-request",
  [0xCC] = "glo-get-response", [0xCD] = "glo-set-response", [0xCF] = "glo-action-response",
  [0xD0] = "ded-get-request", [0xD1] = "ded-set-request", [0xD3] = "ded-action-request",
  [0xD4] = "ded-get-response", [0xD5] = "ded-set-response", [0xD7] = "ded-action-response",
  [0xD8] = "exception-response", [0xD9] = "access-request", [0xDA] = "access-response",
  [0xDB] = "general-glo-ciphering", [0xDC] = "general-ded-ciphering", [0xDD] = "general-ciphering",
  [0xDF] = "general-signing", [0xE0] = "general-block-transfer",
}
local f_version = ProtoField.uint16("dlms_wrapper.version", "Version", base.DEC)
local f_source = ProtoField.uint16("dlms_wrapper.source", "Source wPort", base.DEC)
local f_sap = ProtoField.uint16("dlms_wrapper.destination", "Destination wPort", base.DEC)
local f_length = ProtoField.uint16("dlms_wrapper.length", "Length", base.DEC)
local f_apdu = ProtoField.uint8("dlms_wrapper.apdu", "APDU", base.HEX, APDUS)
local f_choice = ProtoField.uint8("dlms_wrapper.choice", "Choice", base.DEC, { [1] = "normal", [2] = "next", [3] = "with list" })
local f_invoke = ProtoField.uint8("dlms_wrapper.invoke_id", "Invoke-id and priority", base.HEX)
local f_class = ProtoField.uint16("dlms_wrapper.class", "Class", base.DEC)
local f_obis = ProtoField.bytes("dlms_wrapper.obis", "Logical name")
local f_attribute = ProtoField.int8("dlms_wrapper.attribute", "Attribute or method", base.DEC)
local f_title = ProtoField.bytes("dlms_wrapper.system_title", "System title")
local f_security = ProtoField.uint8("dlms_wrapper.security", "Security control", base.HEX)
local f_counter = ProtoField.uint32("dlms_wrapper.invocation_counter", "Invocation counter", base.DEC)
local f_body = ProtoField.bytes("dlms_wrapper.body", "Body")
dlms.fields = {
  f_version, f_source, f_sap, f_length, f_apdu, f_choice, f_invoke, f_class, f_obis, f_attribute, f_title, f_security, f_counter, f_body,
}
local e_dlms_short = ProtoExpert.new("dlms_wrapper.short", "The length is not the datagram's", expert.group.MALFORMED, expert.severity.ERROR)
dlms.experts = { e_dlms_short }

local function obis(range)
  local b = range:bytes()
  return string.format("%d-%d:%d.%d.%d*%d", b:get_index(0), b:get_index(1), b:get_index(2), b:get_index(3), b:get_index(4), b:get_index(5))
end

local function written_length(apdu, at) -- A-XDR: where the content begins
  if at >= apdu:len() then
    return at
  end
  local first = apdu(at, 1):uint()
  return first < 0x80 and at + 1 or at + 1 + bit.band(first, 0x7F)
end

local function ciphered(apdu, at, tree)
  at = written_length(apdu, at)
  if at + 5 <= apdu:len() then
    tree:add(f_security, apdu(at, 1))
    tree:add(f_counter, apdu(at + 1, 4))
    return string.format(", counter %d", apdu(at + 1, 4):uint())
  end
  return ""
end

local function described(apdu, tag, tree)
  if (tag == 0xDB or tag == 0xDC) and apdu:len() > 2 then
    local size = apdu(1, 1):uint()
    if size > 0 and 2 + size <= apdu:len() then
      tree:add(f_title, apdu(2, size))
    end
    return ciphered(apdu, 2 + size, tree)
  elseif tag >= 0xC8 and tag <= 0xD7 then
    return ciphered(apdu, 1, tree)
  elseif (tag == 0xC0 or tag == 0xC1 or tag == 0xC3) and apdu:len() >= 12 and apdu(1, 1):uint() == 1 then
    tree:add(f_choice, apdu(1, 1))
    tree:add(f_invoke, apdu(2, 1))
    tree:add(f_class, apdu(3, 2))
    tree:add(f_obis, apdu(5, 6)):append_text(" (" .. obis(apdu(5, 6)) .. ")")
    tree:add(f_attribute, apdu(11, 1))
    return string.format(" %d,%s,%d", apdu(3, 2):uint(), obis(apdu(5, 6)), apdu(11, 1):int())
  end
  return ""
end

function dlms.dissector(tvb, pinfo, tree)
  if tvb:len() < 8 or tvb(0, 2):uint() ~= 1 then
    return 0
  end
  pinfo.cols.protocol = "DLMS"
  local sub = tree:add(dlms, tvb())
  sub:add(f_version, tvb(0, 2))
  sub:add(f_source, tvb(2, 2))
  sub:add(f_sap, tvb(4, 2))
  sub:add(f_length, tvb(6, 2))
  if tvb:len() ~= 8 + tvb(6, 2):uint() or tvb:len() == 8 then
    sub:add_proto_expert_info(e_dlms_short)
    return tvb:len()
  end
  local apdu = tvb(8)
  local tag = apdu(0, 1):uint()
  sub:add(f_apdu, apdu(0, 1))
  local said = names(APDUS)(tag) .. described(apdu, tag, sub)
  if apdu:len() > 1 then
    sub:add(f_body, apdu(1))
  end
  sub:append_text(", " .. said)
  pinfo.cols.info = said
  return tvb:len()
end

DissectorTable.get("udp.port"):add(4059, dlms)
