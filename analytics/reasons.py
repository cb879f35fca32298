"""The reason of an alert in words, Chinese and English, with its numbers and the usual value inside.

One decision: a finding carries codes and numbers, never sentences; this is the only place where they become text, so that the
page, the push and a report say the same.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, cast
from zoneinfo import ZoneInfo

from analytics.findings import Rule
from gateway.clock import MINUTE_US, SECOND_US

Lang = Literal["zh", "en"]

NAMES: dict[str, dict[str, str]] = {
    Rule.NOT_OPENED: {"zh": "未开门", "en": "Not opened"},
    Rule.CLOSED_EARLY: {"zh": "提前关门", "en": "Closed early"},
    Rule.NO_ACTIVITY: {"zh": "开放时间长时间无人", "en": "No activity while open"},
    Rule.OPENED_AFTER_HOURS: {"zh": "非开放时间有人", "en": "Activity after hours"},
    Rule.LEFT_OPEN: {"zh": "关门后门未关", "en": "Door left open"},
    Rule.PEOPLE_AFTER_CLOSING: {"zh": "关门后仍有人", "en": "People inside after closing"},
    Rule.CROWDING: {"zh": "人员过多", "en": "Crowding"},
    Rule.UNUSUAL_FOOTFALL: {"zh": "客流异常", "en": "Unusual footfall"},
    Rule.RESIDENT_ABSENT: {"zh": "常来老人未到", "en": "Regular visitor absent"},
    Rule.REFUSED_PERSON: {"zh": "禁入人员出现", "en": "Blocked person recognised"},
    Rule.STRANGER_SPIKE: {"zh": "陌生人增多", "en": "Unusually many strangers"},
    Rule.DEVICE_OFFLINE: {"zh": "设备离线", "en": "Device offline"},
    Rule.DEVICE_SILENT: {"zh": "设备无数据", "en": "Device without data"},
    Rule.STUCK: {"zh": "传感器卡住", "en": "Sensor stuck"},
    Rule.FLAPPING: {"zh": "传感器抖动", "en": "Sensor flapping"},
    Rule.COUNTER_BLIND: {"zh": "计数器失明", "en": "Counter blind"},
    Rule.COUNT_MISMATCH: {"zh": "进出不符", "en": "In and out do not match"},
    Rule.BATTERY_LOW: {"zh": "电量低", "en": "Battery low"},
    Rule.TAMPER: {"zh": "设备被拆动", "en": "Device tampered with"},
    Rule.CLOCK_WRONG: {"zh": "时钟错误", "en": "Clock wrong"},
    Rule.MONITORING_GAP: {"zh": "监测中断", "en": "Monitoring gap"},
    Rule.NOBODY_REACHED: {"zh": "告警无人接手", "en": "Nobody reached"},
}

TEXTS: dict[str, dict[str, str]] = {
    "not_opened": {
        "zh": "{deadline} 前未开门（{opens} 应开门，宽限 {grace_min} 分钟，{sensors} 个传感器均正常且无人经过）",
        "en": "Not opened by {deadline} (opens {opens}, {grace_min} min grace; all {sensors} sensors work and saw nobody)",
    },
    "opened": {
        "zh": "非开放时间 {t}，{place}被打开{next}",
        "en": "{place} opened at {t}, after hours{next}",
    },
    "counted": {
        "zh": "非开放时间 {t}，{place}有人进出（进 {d_in}，出 {d_out}）{next}",
        "en": "People counted at {place} at {t}, after hours ({d_in} in, {d_out} out){next}",
    },
    "passage": {
        "zh": "非开放时间 {t}，{place}有人刷脸或签到{next}",
        "en": "Someone checked in at {place} at {t}, after hours{next}",
    },
    "left_open": {
        "zh": "{closes} 关门后 {after_min} 分钟，{place}仍开着（{open_since} 打开）",
        "en": "{place} still open {after_min} min after closing at {closes} (open since {open_since})",
    },
    "no_activity": {
        "zh": "自 {since} 起 {limit_min} 分钟无人活动（开放时间，{sensors} 个传感器均正常；默认时限：仅了解 {days} 天）",
        "en": "Nobody seen for {limit_min} min since {since} (open now; all {sensors} sensors work; the default limit, for only "
        "{days} days are known)",
    },
    "no_activity_since_opening": {
        "zh": "自 {since} 开放起 {limit_min} 分钟无人活动（{sensors} 个传感器均正常；默认时限：仅了解 {days} 天）",
        "en": "Nobody seen for {limit_min} min since opening at {since} (all {sensors} sensors work; the default limit, for only "
        "{days} days are known)",
    },
    "silence": {
        "zh": "自 {since} 起无人活动 {silence}；{on}此时通常不超过 {usual}（{sensors} 个传感器均正常，已了解 {days} 天）",
        "en": "Nobody seen for {silence} since {since}; at this time on {on} usually no more than {usual} (all {sensors} "
        "sensors work; {days} days known)",
    },
    "silence_since_opening": {
        "zh": "自 {since} 开放起无人活动 {silence}；{on}此时通常不超过 {usual}（{sensors} 个传感器均正常，已了解 {days} 天）",
        "en": "Nobody seen for {silence} since opening at {since}; at this time on {on} usually no more than {usual} (all "
        "{sensors} sensors work; {days} days known)",
    },
    "nobody_back": {
        "zh": "{since} 出入口门动过后 {silence}无人活动，可能外出未归；{on}此时外出通常不超过 {usual}"
        "（{sensors} 个传感器均正常，已了解 {days} 天）",
        "en": "Nobody seen for {silence} since {since}, after the entrance door moved: perhaps not back from being out, usually "
        "no longer than {usual} at this time on {on} (all {sensors} sensors work; {days} days known)",
    },
    "silent": {
        "zh": "{place}的“{device}”自 {since} 起无信号（通常至少每 {alive} 一次）",
        "en": "“{device}” at {place} silent since {since} (usually heard at least every {alive})",
    },
    "never_heard": {
        "zh": "{place}的“{device}”自 {since} 安装后从未有信号（通常至少每 {alive} 一次）",
        "en": "“{device}” at {place} never heard since it was mounted at {since} (usually at least every {alive})",
    },
    "link_offline": {
        "zh": "{place}的“{device}”自 {since} 起被其网络报告为离线",
        "en": "“{device}” at {place} reported offline by its network since {since}",
    },
    "stuck": {
        "zh": "{place}的“{device}”自 {since} 起没有变化，此间其他传感器有 {run} 个时段（15 分钟）有人活动；"
        "以往其中约 {percent}% 也有变化",
        "en": "“{device}” at {place} has not changed since {since}, while others were active in {run} quarter hours; "
        "usually it is in {percent}% of them",
    },
    "device_silent": {
        "zh": "{place}的“{device}”在线，但 {days} 天没有数据，此间其他传感器有 {run} 个时段（15 分钟）有人活动；"
        "以往其中约 {percent}% 也有数据",
        "en": "“{device}” at {place} is online but has given no data for {days} days, while others were active in {run} quarter "
        "hours; usually it has some in {percent}% of them",
    },
    "flapping": {
        "zh": "{place}的“{device}”在 15 分钟内变化 {edges} 次，远多于进出的人数",
        "en": "“{device}” at {place} changed {edges} times within 15 min, far more often than people passed",
    },
    "clock_wrong": {
        "zh": "{place}的“{device}”今天有 {messages} 条消息的时间不可信；已改用收到的时间，请校准设备时钟",
        "en": "{messages} messages of “{device}” at {place} today have an implausible time; that of arrival "
        "is used: set its clock",
    },
    "gateway_clock": {
        "zh": "网关 {gateway} 的时钟自 {since} 起不准；其事件的时间已更正，请检查其 NTP",
        "en": "The clock of gateway {gateway} is wrong since {since}; its events are stored with corrected times: check its NTP",
    },
    "count_mismatch": {
        "zh": "{place}的“{device}”近 {days} 天计进 {came_in} 人、出 {went_out} 人，相差过大；请检查安装位置与方向",
        "en": "“{device}” at {place} counted {came_in} in and {went_out} out over about {days} days: check how it is mounted",
    },
    "battery_low": {
        "zh": "{place}的“{device}”电量 {percent}%，请尽快更换电池",
        "en": "The battery of “{device}” at {place} is at {percent}%: replace it soon",
    },
    "battery_said_low": {
        "zh": "{t}，{place}的“{device}”报告电量低，请尽快更换电池",
        "en": "“{device}” at {place} says at {t} that its battery is low: replace it soon",
    },
    "tamper": {
        "zh": "{t}，{place}的“{device}”被打开或拆下",
        "en": "“{device}” at {place} was opened or taken off its mount at {t}",
    },
    "moved": {
        "zh": "{t}，{place}的“{device}”报告被移动",
        "en": "“{device}” at {place} says at {t} that it was moved",
    },
    "occluded": {
        "zh": "{t}，{place}的“{device}”报告视野被遮挡",
        "en": "“{device}” at {place} says at {t} that its view is blocked",
    },
    "hardware": {
        "zh": "{t}，{place}的“{device}”报告硬件故障",
        "en": "“{device}” at {place} says at {t} that it is broken",
    },
    "nobody_reached": {
        "zh": "告警 #{alert}（{what}）已通知 {told} 人，至今无人接手",
        "en": "Alert #{alert} ({what}): {told} told, nobody has taken it over",
    },
    "footfall_high": {
        "zh": "{from} 至 {to}：{place}进入 {counted} 人次；{day}此时通常 {low} 至 {high} 人次（已学习 {days} 天）{where}",
        "en": "{place} {from}–{to}: {counted} came in; {low} to {high} are usual on {day} (learned from {days} days){where}",
    },
    "footfall_new": {
        "zh": "{from} 至 {to}：{place}进入 {counted} 人次；此处仅学习 {days} 天，按同类站点一般不超过 {high} 人次{where}",
        "en": "{place} {from}–{to}: {counted} came in; known for {days} days only; up to {high} are usual at its kind{where}",
    },
    "footfall_low": {
        "zh": "{from} 至 {to}：{place}仅进入 {counted} 人次；{day}此时通常 {low} 至 {high} 人次（已学习 {days} 天）{where}",
        "en": "{place} {from}–{to}: only {counted} came in; {low} to {high} are usual on {day} (learned from {days} days){where}",
    },
    "zeros_neighbours": {
        "zh": "{place}的“{device}”自 {since} 起计数为零，按周边客流（通常的 {share}%）本应有约 {usual} 人次",
        "en": "“{device}” at {place} has counted nobody since {since}, though neighbours are at {share}% of usual and "
        "about {usual} "
        "people should have come",
    },
    "zeros_others": {
        "zh": "{place}的“{device}”自 {since} 起计数为零，而本站点其他传感器有 {quarters} 个时段（15 分钟）有人活动",
        "en": "“{device}” at {place} has counted nobody since {since}, though other sensors here were active in "
        "{quarters} quarter hours",
    },
    "zeros_alone": {
        "zh": "{place}的“{device}”自 {since} 起计数为零，通常应有约 {usual} 人次；附近没有传感器可以印证",
        "en": "“{device}” at {place} has counted nobody since {since}, when about {usual} are usual; no sensor nearby "
        "can tell why",
    },
    "absent_watch": {
        "zh": "一位常来的老人 {days} 个开放日未到（平时约每 {every} 个开放日来一次，以往最长间隔 {longest} 个开放日），请留意",
        "en": "A regular visitor has not come for {days} opening days (usually every {every}; longest gap so far "
        "{longest}): watch",
    },
    "absent_visit": {
        "zh": "一位常来的老人 {days} 个开放日未到（平时约每 {every} 个开放日来一次，以往最长间隔 {longest} 个开放日，"
        "偶然如此每年约 {per_year} 次），请探访",
        "en": "A regular visitor has not come for {days} opening days (usually every {every}; longest gap so far "
        "{longest}; by chance "
        "about {per_year} times a year): visit them",
    },
    "closed_early": {
        "zh": "自 {since} 起 {quiet_min} 分钟无人，而 {closes} 才关门（已知 {days} 个开放日中 {busy} 天此时仍有人；"
        "{sensors} 个传感器均正常）",
        "en": "Nobody for {quiet_min} min since {since}, though it closes at {closes} only (on {busy} of {days} known "
        "opening days "
        "people were there at that time; all {sensors} sensors work)",
    },
    "people_after_closing": {
        "zh": "{closes} 关门后 {after_min} 分钟，估计仍有 {people} 人在内（今天计进 {came_in} 人、出 {went_out} 人；"
        "{sign} 仍有活动，之后无人出门）",
        "en": "About {people} still inside {after_min} min after closing at {closes} ({came_in} counted in, {went_out} "
        "out; a sign of "
        "life at {sign}, and nobody left since)",
    },
    "crowding": {
        "zh": "{t}，室内约 {people} 人，超过核定的 {capacity} 人",
        "en": "About {people} people inside at {t}; {capacity} are allowed",
    },
    "crowding_unsure": {
        "zh": "{t}，室内约 {people} 人，超过核定的 {capacity} 人（今天计数曾中断，人数可能有偏差）",
        "en": "About {people} people inside at {t}; {capacity} are allowed (counting was interrupted today, the number "
        "may be off)",
    },
    "refused_person": {
        "zh": "{t}，{place}识别到禁入人员{times}",
        "en": "Someone on the block list was recognised at {place} at {t}{times}",
    },
    "stranger_spike": {
        "zh": "{from}–{to}：{people} 名陌生人；此时段平常每小时约 {usual} 名",
        "en": "{from}–{to}: {people} strangers; about {usual} an hour are usual at this time",
    },
    "stranger_spike_new": {
        "zh": "{from}–{to}：{people} 名陌生人；本站历史不足，按每小时 {usual} 名估计",
        "en": "{from}–{to}: {people} strangers; too little is known of this site, {usual} an hour are assumed",
    },
    "lost": {
        "zh": "自 {since} 起收不到网关 {gateway}，{covers}看不见",
        "en": "Gateway {gateway} not heard since {since}; cannot see {covers}",
    },
    "hole": {
        "zh": "{since} 至 {to} 网关 {gateway} 未在接收，{covers}看不见",
        "en": "Gateway {gateway} was not receiving from {since} to {to}; could not see {covers}",
    },
    "blind": {
        "zh": "自 {since} 起网关 {gateway} 收不到设备（{source}），{covers}看不见",
        "en": "Gateway {gateway} cannot hear its devices ({source}) since {since}; cannot see {covers}",
    },
}

DAYS = {
    "zh": ("周一", "周二", "周三", "周四", "周五", "周六", "周日", "节假日"),
    "en": ("a Monday", "a Tuesday", "a Wednesday", "a Thursday", "a Friday", "a Saturday", "a Sunday", "a public holiday"),
}

ENDED: dict[str, dict[str, str]] = {
    "taken": {"zh": "已有人接手", "en": "someone has taken it over"},
    "passed": {"zh": "原告警已结束", "en": "the alert itself is over"},
    "activity": {"zh": "已有人活动", "en": "activity seen"},
    "activity_before": {"zh": "补到的数据表明当时有人", "en": "late data shows that people were there"},
    "closing": {"zh": "到关门时间", "en": "closing time came"},
    "opening": {"zh": "到开门时间", "en": "opening time came"},
    "closed": {"zh": "门已关", "en": "door closed"},
    "closed_before": {"zh": "补到的数据表明门当时已关", "en": "late data shows that the door was closed"},
    "quiet": {"zh": "已无活动", "en": "quiet again"},
    "heard": {"zh": "设备已恢复", "en": "device is back"},
    "heard_before": {"zh": "补到的数据表明设备当时在线", "en": "late data shows that the device was there"},
    "closure": {"zh": "当日已登记停业", "en": "a closure was entered"},
    "normal": {"zh": "已恢复正常", "en": "back to normal"},
    "counter_blind": {"zh": "计数器失明，并非无人", "en": "the counter is blind, people may well have come"},
    "seen": {"zh": "老人已到中心", "en": "seen at the centre"},
    "seen_before": {"zh": "补到的数据表明老人当时来过", "en": "late data shows that they had come"},
    "explained": {"zh": "已登记停业或外出", "en": "a closure or an announced absence was entered"},
    "left": {"zh": "不再是本站点登记的老人", "en": "no longer a resident of this site's register"},
    "removed": {"zh": "设备已移除", "en": "device was removed"},
    "visit": {"zh": "当时已登记参观或活动", "en": "a visit was entered"},
    "gone": {"zh": "人已离开", "en": "people have left"},
    "gone_before": {"zh": "补到的数据表明当时有人出门", "en": "late data shows that someone left"},
    "empty": {"zh": "已确认无人", "en": "proven empty"},
}


def render(rule: str, reason: Mapping[str, Any], lang: str, zone: str) -> str:
    """Say why, in `lang` ("zh", else "en"), with times in the site's zone (IANA). A code it does not know is the rule's name."""
    en = lang != "zh"
    text = TEXTS.get(str(reason.get("code")), {}).get("en" if en else "zh")
    if text is None:
        return rule_name(rule, lang)
    try:
        said = text.format_map(_words(reason, en, ZoneInfo(zone)))
    except (KeyError, ValueError):  # written by another version
        return rule_name(rule, lang)
    drill = ("Drill: " if en else "【演练】") if reason.get("mode") == "drill" else ""
    return drill + said


def rule_name(rule: str, lang: str) -> str:
    """Return a rule's name."""
    return NAMES.get(rule, {"zh": rule, "en": rule})["zh" if lang == "zh" else "en"]


def ended(reason: Mapping[str, Any], lang: str) -> str:
    """Say why it is over, empty where it is not."""
    return ENDED.get(str(reason.get("ended")), {}).get("zh" if lang == "zh" else "en", "")


def _words(reason: Mapping[str, Any], en: bool, zone: ZoneInfo) -> dict[str, str]:
    words = {k: _number(v) for k, v in reason.items()}
    times = {k: v for k, v in reason.items() if k.endswith("_us") and v}
    anchor = max((v for k, v in times.items() if k != "opens_us"), default=0)
    words |= {k[:-3]: _clock(v, anchor, zone) for k, v in times.items()}
    if "grace_min" in reason:
        deadline = cast(int, reason["opens_us"]) + round(reason["grace_min"] * MINUTE_US)
        words["deadline"] = _clock(deadline, deadline, zone)
        words["opens"] = _clock(reason["opens_us"], deadline, zone)
    elif "t_us" in reason:
        opens = f"{words['opens']}" if reason.get("opens_us") else ""
        words["next"] = (f" (opens {opens})" if en else f"（{opens} 开门）") if opens else ""
    if "place_en" in reason and en:
        words["place"] = words["place_en"]
    if "usual_min" in reason:
        words["on"] = DAYS["en" if en else "zh"][reason["on_day"]]
        words |= {"usual": span(reason["usual_min"], en), "silence": span(reason["limit_min"], en)}
    if "day_type" in reason:
        words["day"] = DAYS["en" if en else "zh"][reason["day_type"]]
        words["where"] = (", as nearby" if en else "，周边也一样") if reason["everywhere"] else ""
    times = reason.get("count", 1)
    words["times"] = "" if times < 2 else f" ({times} times)" if en else f"（{times} 次）"
    if "of_rule" in reason:
        words["what"] = rule_name(reason["of_rule"], "en" if en else "zh")
    if "alive_min" in reason:
        words["alive"] = span(reason["alive_min"], en)
    if "places" in reason:
        names = (", " if en else "、").join(reason["places"])
        words["covers"] = (
            f"{words['sensors']} of {words['of']} sensors ({names})"
            if en
            else f"{names}（{words['sensors']}/{words['of']} 个传感器）"
        )
        words["source"] = words["source"].rstrip("/") or ("all" if en else "全部")
        words["covers"] = words["covers"] if reason["places"] else ("anything" if en else "全部")
    return words


def _clock(t_us: int, anchor_us: int, zone: ZoneInfo) -> str:
    """Write HH:MM, with the day where it is not the anchor's."""
    t, anchor = (datetime.fromtimestamp(x // SECOND_US, zone) for x in (t_us, anchor_us))
    return f"{t:%H:%M}" if t.date() == anchor.date() else f"{t:%m-%d %H:%M}"


def span(minutes: float, en: bool) -> str:
    """Say a length of time."""
    if minutes < 1:
        return f"{minutes * 60:g} s" if en else f"{minutes * 60:g} 秒"
    if minutes < 120:
        return f"{minutes:g} min" if en else f"{minutes:g} 分钟"
    return f"{minutes / 60:.3g} h" if en else f"{minutes / 60:.3g} 小时"


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
