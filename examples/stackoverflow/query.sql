SELECT tag, count(*) AS tag_count
FROM stackoverflow_db.trending_tags
GROUP BY tag
ORDER BY tag_count DESC
LIMIT 10
